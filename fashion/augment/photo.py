"""Simulated photos: product images changed to look like segmented photos, which makes the model robust to these.

The images of the data set show products on a plain background. A photo has light from one side, prints, folds, spread
sleeves, and pairs of shoes seen from above; segmentation removes parts of the garment and leaves shadows and pieces of
the floor. All of it is simulated here on Fashion-MNIST's own images, inside the compiled training step.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any

import keras
import numpy as np
from jaxtyping import Float32
from keras import ops
from pydantic import Field, NonNegativeFloat

from fashion.arrays import GrayImages
from fashion.augment import silhouette
from fashion.augment.random_parameters import RandomParameters
from fashion.augment.resample import pixel_grid, resample
from fashion.errors import InputError

INPUT_SHAPE = (28, 28, 1)
# Sleeves rotate about the shoulder, which is this far above the centre, in pixels.
SHOULDER_HEIGHT, SLEEVE_RADIANS = (6.0, 11.0), (0.1, 1.2)
MAX_TILT = 0.01  # change of scale for each pixel of height: the camera is never exactly above
PAIR_HALF = 7.0  # pixels from the centre of a pair to that of each shoe
# Share of the pairs of low shoes that are seen from above; rows of the side view for each pixel from the shoe's centre.
FROM_ABOVE, SHOE_BREADTH = 0.6, (0.9, 1.8)
BATCH = 1_000  # images at a time, outside of training
# Brightness is scaled by this many deviations above the mean, near the quantile that preprocessing scales photos by.
BRIGHTEST = 1.5
DIMMEST = 0.15  # lowest brightness of fabric after preprocessing


class Photo(keras.layers.Layer):
    """Make product images look like segmented photos.

    Args:
        product_share: Share of images that stay products: they are only rotated, shifted and scaled a little.
        rotation_degrees: Angles are uniform in plus and minus this.
        shift: Shifts are uniform in plus and minus this share of the side, on both axes.
        zoom: Magnifications are uniform in 1 minus this to 1 plus this.
        aspect_jitter: Width relative to height grows by up to this share, and shrinks by up to a quarter of it: clothes
            that lie on a floor are wider than those that hang.
        warp_pixels: Standard deviation of the elastic deformation of photos, a smooth field of displacements.
        mirror_probability: Share of photos that are mirrored left to right.
        splay_probability: Share of the tops whose sleeves are spread.
        pair_probability: Share of the shoes that become a pair.
        surface_probability: Share of photos whose fabric gets another brightness, a print, stripes or folds.
        defect_probability: Share of photos that lack a piece; the same share is cropped by the edge of the photo, keeps
            a piece of the background, and keeps a shadow, each independently.
        seed: Seed of the random parameters; each training step draws new ones.
    """

    def __init__(
        self,
        product_share: Annotated[float, Field(ge=0, le=1)],
        rotation_degrees: Annotated[float, Field(ge=0, le=180)],
        shift: Annotated[float, Field(ge=0, le=1)],
        zoom: Annotated[NonNegativeFloat, Field(lt=1)],
        aspect_jitter: Annotated[NonNegativeFloat, Field(lt=2)],
        warp_pixels: Annotated[float, Field(ge=0, le=4)],
        mirror_probability: Annotated[float, Field(ge=0, le=1)],
        splay_probability: Annotated[float, Field(ge=0, le=1)],
        pair_probability: Annotated[float, Field(ge=0, le=1)],
        surface_probability: Annotated[float, Field(ge=0, le=1)],
        defect_probability: Annotated[float, Field(ge=0, le=1)],
        *,
        seed: int,
    ) -> None:
        super().__init__(name="augment", dtype="float32")
        self.product_share = product_share
        self.rotation_radians = math.radians(rotation_degrees)
        self.shift = shift
        self.zoom = zoom
        self.aspect_jitter = aspect_jitter
        self.warp_pixels = warp_pixels
        self.mirror_probability = mirror_probability
        self.splay_probability = splay_probability
        self.pair_probability = pair_probability
        self.surface_probability = surface_probability
        self.defect_probability = defect_probability
        self.random = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Refuse images that are not ``(n, 28, 28, 1)`` with an ``InputError``; there are no weights."""
        if tuple(input_shape[1:]) != INPUT_SHAPE:
            got, expected = (" x ".join(map(str, shape)) for shape in (input_shape[1:], INPUT_SHAPE))
            raise InputError(
                f"augment=photo: got images of {got}, expected {expected}, light on black; choose another, such as "
                "augment=random_crop"
            )

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, h, w, 1)`` images, transformed in training and untouched otherwise."""
        if not training:
            return images
        return self._transform(images, self.product_share)

    def simulate_photos(self, pixels: GrayImages) -> Float32[np.ndarray, "n h w"]:
        """Return a simulated photo of every image; none stays a product.

        Args:
            pixels: ``(n, h, w)`` uint8, 0-255.

        Returns:
            ``(n, h, w)`` float32 in [0, 1].
        """
        images = pixels[..., np.newaxis].astype(np.float32) / 255
        starts = range(0, len(images), BATCH)
        padded = np.pad(images, ((0, -len(images) % BATCH), (0, 0), (0, 0), (0, 0)))  # one shape is compiled
        photos = [ops.convert_to_numpy(self._compiled(padded[start : start + BATCH]))[..., 0] for start in starts]
        return np.concatenate(photos)[: len(images)]

    @cached_property
    def _compiled(self) -> Callable[[np.ndarray], keras.KerasTensor]:
        """The transformation without products as one program: as single operations JAX compiles it for a minute."""

        def transform(images: keras.KerasTensor) -> keras.KerasTensor:
            return self._transform(images, 0.0)

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            compiled: Callable[[np.ndarray], keras.KerasTensor] = tf.function(transform)
            return compiled
        import jax

        @jax.jit
        def stateless(images: np.ndarray, state: Any) -> tuple[Any, Any]:
            with keras.StatelessScope(state_mapping=[(self.random.state, state)]) as scope:
                photos = transform(images)
            return photos, scope.get_current_value(self.random.state)

        def stateful(images: np.ndarray) -> keras.KerasTensor:
            photos, state = stateless(images, self.random.state.value)
            self.random.state.assign(state)
            return photos

        return stateful

    def _transform(self, images: keras.KerasTensor, product_share: float) -> keras.KerasTensor:
        params = RandomParameters(images, self.random)
        product = params.bernoulli(product_share)
        posed = self._apply_pose(images, product, params)
        mask = silhouette.foreground_mask(posed)
        fabric = self._vary_surface(posed, mask, params)
        photos = self._add_camera_noise(self._add_defects(fabric, mask, params), params)
        return ops.where(product, posed, photos)

    def _apply_pose(
        self, images: keras.KerasTensor, product: keras.KerasTensor, params: RandomParameters
    ) -> keras.KerasTensor:
        """Move the object and parts of it; scale photos so that the object fills the frame, as preprocessing does."""
        _, height, width, _ = images.shape
        y, x = pixel_grid(images)
        pose = self._sample_pose(images, product[..., 0], params)
        frame = ops.ones_like(images[..., 0])

        def posed(x: keras.KerasTensor, y: keras.KerasTensor) -> keras.KerasTensor:
            columns, rows, visible = pose(x * frame, y * frame)
            return resample(images, rows + (height - 1) / 2, columns + (width - 1) / 2) * visible[..., None]

        # At half the scale the whole object is inside the frame.
        left, right, top, bottom = silhouette.bounding_box(posed(2 * x, 2 * y)[..., 0] > silhouette.FOREGROUND)
        scale = ops.maximum(right - left, bottom - top) * 2 / height * (1 + params.uniform(-0.06, 0.1)[..., 0])
        photo = ~product[..., 0]
        scale = ops.where(photo, scale, 1.0)
        x_centre = ops.where(photo, left + right - (width - 1), 0.0)
        y_centre = ops.where(photo, top + bottom - (height - 1), 0.0)
        return posed(x * scale + x_centre, y * scale + y_centre)

    def _sample_pose(
        self, images: keras.KerasTensor, product: keras.KerasTensor, params: RandomParameters
    ) -> Callable[..., Any]:
        """Sample a pose for each image.

        Returns:
            A function from coordinates ``x`` and ``y`` in pixels from the centre, ``(n, h, w)``, to the coordinates at
            which to read the image, and a mask that is 0 where nothing is visible.
        """
        _, height, width, _ = images.shape
        reach = ops.where(product, 0.5, 1.0)
        photo = ~product
        shoe, low, top = silhouette.garment_types(images)
        pair = photo & shoe & params.bernoulli(self.pair_probability)[..., 0]
        splay = photo & top & params.bernoulli(self.splay_probability)[..., 0]
        x_shift = reach * params.uniform(-self.shift * width, self.shift * width)[..., 0]
        y_shift = reach * params.uniform(-self.shift * height, self.shift * height)[..., 0]
        angle = params.uniform(-self.rotation_radians, self.rotation_radians)[..., 0]
        angle = angle * ops.where(photo & shoe, 3.0, reach)  # shoes lie as they fell
        scale = 1 / (1 + reach * params.uniform(-self.zoom, self.zoom)[..., 0])
        wider = reach * params.uniform(-math.log1p(self.aspect_jitter / 4), math.log1p(self.aspect_jitter))[..., 0]
        wider = ops.exp(ops.where(photo & shoe, 0.0, wider) / 2)
        tilt = ops.where(photo, params.uniform(-MAX_TILT, MAX_TILT)[..., 0], 0.0)
        mirror = ops.where(photo & params.bernoulli(self.mirror_probability)[..., 0], -1.0, 1.0)
        shoulder = silhouette.torso_half_width(images) + params.uniform(-1.0, 0.5)[..., 0]
        up = -params.uniform(*SHOULDER_HEIGHT)[..., 0]
        sleeve = params.uniform(*SLEEVE_RADIANS)[..., 0]
        paired = self._sample_pairing(images, pair, low, params)
        bend = ops.where(photo, self.warp_pixels, 0.0)
        x_bend, y_bend = (bend * params.smooth_field(5)[..., 0] for _ in range(2))

        def pose(x: keras.KerasTensor, y: keras.KerasTensor) -> tuple[keras.KerasTensor, ...]:
            x, y = _rotate((x + x_shift) * scale / wider, (y + y_shift) * scale * wider, angle)
            x = mirror * x * (1 + tilt * y)
            splayed_x, splayed_y, visible = _splay(x, y, shoulder, up, sleeve)
            x, y = paired(ops.where(splay, splayed_x, x), ops.where(splay, splayed_y, y))
            return x + x_bend, y + y_bend, ops.where(splay & ~visible, 0.0, 1.0)

        return pose

    def _sample_pairing(
        self, images: keras.KerasTensor, pair: keras.KerasTensor, low: keras.KerasTensor, params: RandomParameters
    ) -> Callable[..., Any]:
        """Sample how shoes become pairs: a low one by a quarter turn, on its side or from above; a boot upright.

        Returns:
            A function from coordinates to those at which to read the image, as ``_sample_pose`` returns.
        """
        contour = silhouette.upper_contour(images)
        from_above = params.bernoulli(FROM_ABOVE)[..., 0]
        breadth = params.uniform(*SHOE_BREADTH)[..., 0]
        toe = ops.where(params.bernoulli(0.5)[..., 0], -1.0, 1.0)

        def paired(x: keras.KerasTensor, y: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
            half = ops.abs(x) - PAIR_HALF  # from the centre of the shoe, in each half of the image
            along = toe * y
            # From above, the upper contour of the side view is in the middle, and the sole around it.
            above = silhouette.sample_columns(contour, along) + breadth * ops.abs(half)
            return (
                ops.where(pair, ops.where(low, along, 2 * half), x),
                ops.where(pair & low, ops.where(from_above, above, half), y),
            )

        return paired

    def _vary_surface(
        self, objects: keras.KerasTensor, mask: keras.KerasTensor, params: RandomParameters
    ) -> keras.KerasTensor:
        """Give the fabric another brightness, a print, stripes, folds and light from one side."""
        objects = ops.where(params.bernoulli(0.1), (1 - objects) * mask, objects)
        level, _ = _foreground_moments(objects, mask)
        fabric = level + params.uniform(0.3, 1.0) * (objects - level)
        fabric = ops.power(ops.clip(fabric, 1e-3, 1), ops.exp(params.uniform(-0.6, 0.6)))
        print_strength = params.uniform(0.1, 0.4) * ops.cast(params.bernoulli(0.25), "float32")
        fabric = fabric + print_strength * ops.tanh(2 * params.smooth_field(11)) * self._print_mask(objects, params)
        stripes = params.uniform(0.1, 0.35) * ops.cast(params.bernoulli(0.15), "float32")
        fabric = fabric + stripes * self._stripes(objects, params)
        fabric = fabric + params.uniform(0.0, 0.1) * params.smooth_field(11)
        fabric = fabric * ops.exp(params.uniform(0.0, 0.3) * params.smooth_field(3))
        fabric = ops.where(params.bernoulli(self.surface_probability), fabric, objects)
        # As in preprocessing: the brightest parts become nearly white, and no fabric is as dark as the background.
        level, deviation = _foreground_moments(fabric, mask)
        fabric = fabric * params.uniform(0.8, 1.0) / ops.maximum(level + BRIGHTEST * deviation, 0.05)
        return ops.clip(fabric, DIMMEST, 1) * mask

    def _add_defects(
        self, fabric: keras.KerasTensor, mask: keras.KerasTensor, params: RandomParameters
    ) -> keras.KerasTensor:
        """Add the defects of segmentation: missing parts of the object, remains of the background and of its shadow."""
        lost, cropped, residue, shadow = (
            ops.cast(params.bernoulli(self.defect_probability), "float32") for _ in range(4)
        )
        kept = 1 - lost * ops.sigmoid(12 * (params.smooth_field(6) - params.uniform(1.0, 2.2)))
        kept = kept * (1 - cropped * self._outside_the_photo(fabric, params))
        background = ops.clip(params.uniform(0.05, 0.9) + 0.15 * params.smooth_field(14), 0, 1)
        where = ops.sigmoid(10 * (params.smooth_field(5) - params.uniform(0.6, 2.2)))
        # Most remains are next to the object, some are apart from it.
        near = keras.ops.max_pool(mask, 7, 1, "same")
        where = residue * where * ops.where(params.bernoulli(0.7), near, ops.ones_like(near))
        shadow = shadow * params.uniform(0.1, 0.5) * ops.sigmoid(4 * params.smooth_field(4)) * _blur(near)
        body = mask * kept
        return body * fabric + (1 - body) * ops.maximum(where * background, shadow)

    def _add_camera_noise(self, images: keras.KerasTensor, params: RandomParameters) -> keras.KerasTensor:
        """Blur or sharpen, and add noise."""
        blurred = _blur(images)
        amount = params.uniform(-0.6, 0.7)
        noise = params.uniform(0.0, 0.05) * params.white_noise()
        # On the foreground alone: after segmentation the background is 0.
        foreground = ops.cast(images > silhouette.FOREGROUND, "float32")
        return ops.clip(images + amount * (blurred - images) * foreground + noise * foreground, 0, 1)

    def _outside_the_photo(self, images: keras.KerasTensor, params: RandomParameters) -> keras.KerasTensor:
        """Return 1 beyond an edge of the photo that crops the object, else 0, ``(n, h, w, 1)``."""
        _, height, width, _ = images.shape
        y = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1, 1))
        x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width, 1))
        reach = params.uniform(0.0, 0.2)
        side = params.uniform(0.0, 4.0)
        across, along = (x + 0.5) / width, (y + 0.5) / height
        place = ops.where(side < 1, along, ops.where(side < 2, 1 - along, ops.where(side < 3, across, 1 - across)))
        return ops.cast(place < reach, "float32")

    def _print_mask(self, images: keras.KerasTensor, params: RandomParameters) -> keras.KerasTensor:
        """Return a soft spot in the middle, where prints are, ``(n, h, w, 1)`` in [0, 1]."""
        _, height, width, _ = images.shape
        y = ops.reshape((ops.arange(height, dtype="float32") - (height - 1) / 2) / height, (1, height, 1, 1))
        x = ops.reshape((ops.arange(width, dtype="float32") - (width - 1) / 2) / width, (1, 1, width, 1))
        size = params.uniform(0.1, 0.6)
        return ops.exp(-ops.square(ops.square(x / size) + ops.square((y + params.uniform(-0.1, 0.1)) / size)))

    def _stripes(self, images: keras.KerasTensor, params: RandomParameters) -> keras.KerasTensor:
        """Return horizontal stripes, vertical stripes or checks, ``(n, h, w, 1)`` in [-1, 1]."""
        _, height, width, _ = images.shape
        y = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1, 1))
        x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width, 1))
        wave = 2 * math.pi / params.uniform(2.5, 9.0)
        across = ops.sin(wave * y + params.uniform(0, 6.3))
        along = ops.sin(wave * x + params.uniform(0, 6.3))
        kind = params.uniform(0.0, 3.0)
        return ops.where(kind < 1.5, across, ops.where(kind < 2, along, (across + along) / 2))


def _rotate(
    x: keras.KerasTensor, y: keras.KerasTensor, angle: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    cosine, sine = ops.cos(angle), ops.sin(angle)
    return cosine * x - sine * y, sine * x + cosine * y


def _splay(
    x: keras.KerasTensor,
    y: keras.KerasTensor,
    shoulder: keras.KerasTensor,
    up: keras.KerasTensor,
    sleeve: keras.KerasTensor,
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Rotate everything outside of the shoulders outward; return where to read, and whether something is visible."""
    outside = ops.abs(x) > shoulder
    rotated_x, rotated_y = _rotate(ops.abs(x) - shoulder, y - up, sleeve)
    return (
        ops.where(outside, ops.sign(x) * (rotated_x + shoulder), x),
        ops.where(outside, rotated_y + up, y),
        ~outside | (rotated_x > 0),  # the fabric there moved with the sleeve
    )


def _foreground_moments(
    images: keras.KerasTensor, mask: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the mean and the standard deviation of the brightness under the mask, each ``(n, 1, 1, 1)``."""
    size = ops.maximum(ops.sum(mask, axis=(1, 2, 3), keepdims=True), 1.0)
    mean = ops.sum(images * mask, axis=(1, 2, 3), keepdims=True) / size
    variance = ops.sum(ops.square(images - mean) * mask, axis=(1, 2, 3), keepdims=True) / size
    return mean, ops.sqrt(variance + 1e-6)


def _blur(images: keras.KerasTensor) -> keras.KerasTensor:
    """Return a 3 x 3 box blur."""
    return keras.ops.average_pool(images, 3, 1, "same")
