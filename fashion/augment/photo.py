"""What is left of a garment after it was photographed and cut out by a program: the model learns to forgive it.

The images of the data set are products on an even ground. A photo has light from one side, prints, folds, sleeves
spread out and shoes in pairs seen from above; its cut-out lacks parts, and keeps shadows and pieces of the floor. All
of it is drawn here from Fashion-MNIST's own images, inside the compiled step.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops
from pydantic import Field, NonNegativeFloat

from fashion.augment import outline
from fashion.augment.draws import Draws
from fashion.augment.resample import resample

# Sleeves turn about the shoulder: so high above the centre, in pixels of the data set's 28.
SHOULDER_UP, SLEEVE_RADIANS = (6.0, 11.0), (0.1, 1.2)
MOST_TILT = 0.01  # of the width, for each pixel of height: the camera is never quite above
PAIR_HALF = 7.0  # pixels from the middle of a pair to that of a shoe
FROM_ABOVE, SHOE_BREADTH = 0.6, (0.9, 1.8)  # of the low pairs; rows of the side view for a pixel away from the middle
BATCH = 1_000  # images at a time, outside of training
BRIGHTEST = 1.5  # deviations above the mean, about the quantile that a cut-out is made bright by
DIMMEST = 0.15  # the least brightness of cloth in a cut-out


class Photo(keras.layers.Layer):
    """Turn images of products into what a cut-out photo leaves of them.

    Args:
        product_share: Share of images that stay products: turned, shifted and scaled a little, and nothing else.
        rotation_degrees: Angles are uniform in plus and minus this.
        shift: Shifts are uniform in plus and minus this share of the side, on both axes.
        zoom: Magnifications are uniform in 1 minus this to 1 plus this.
        aspect_jitter: Width relative to height grows by up to this share, and shrinks by up to a quarter of it: clothes
            that lie on a floor are wider than those that hang.
        warp_pixels: Standard deviation of the displacement of cloth, which varies smoothly over the image.
        mirror_probability: Share of what is no product that is mirrored left to right.
        splay_probability: Share of the garments for the upper body whose sleeves are turned outward.
        pair_probability: Share of the shoes that become a pair.
        surface_probability: Share of what is no product whose cloth gets another brightness, a print, stripes or folds.
        defect_probability: Share of images that lack a piece, and as many that are cut by the edge of the photo, keep a
            piece of the ground, or keep a shadow.
        seed: Seed of the random draws; each training step draws anew.
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

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, h, w, 1)`` images, transformed in training and untouched otherwise."""
        if not training:
            return images
        return self._changed(images, self.product_share)

    def photographed(self, pixels: np.ndarray) -> np.ndarray:
        """Return what photos of images leave of them, none staying a product.

        Args:
            pixels: ``(n, 28, 28)`` uint8, 0-255.

        Returns:
            ``(n, 28, 28)`` float32 in [0, 1].
        """
        images = pixels[..., np.newaxis].astype(np.float32) / 255
        starts = range(0, len(images), BATCH)
        padded = np.pad(images, ((0, -len(images) % BATCH), (0, 0), (0, 0), (0, 0)))  # one shape is compiled
        seen = [ops.convert_to_numpy(self._photographing(padded[start : start + BATCH]))[..., 0] for start in starts]
        return np.concatenate(seen)[: len(images)]

    @cached_property
    def _photographing(self) -> Callable[[np.ndarray], keras.KerasTensor]:
        """Return the change of photographs as one program: single operations take JAX a minute to compile."""

        def change(images: keras.KerasTensor) -> keras.KerasTensor:
            return self._changed(images, 0.0)

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return tf.function(change)
        import jax

        @jax.jit
        def stateless(images: np.ndarray, state: Any) -> tuple[Any, Any]:
            with keras.StatelessScope(state_mapping=[(self.random.state, state)]) as scope:
                changed = change(images)
            return changed, scope.get_current_value(self.random.state)

        def stateful(images: np.ndarray) -> keras.KerasTensor:
            changed, state = stateless(images, self.random.state.value)
            self.random.state.assign(state)
            return changed

        return stateful

    def _changed(self, images: keras.KerasTensor, product_share: float) -> keras.KerasTensor:
        draws = Draws(images, self.random)
        product = draws.chance(product_share)
        posed = self._posed(images, product, draws)
        silhouette = outline.silhouette(posed)
        cloth = self._surface(posed, silhouette, draws)
        photographed = self._camera(self._cut_out(cloth, silhouette, draws), draws)
        return ops.where(product, posed, photographed)

    def _posed(self, images: keras.KerasTensor, product: keras.KerasTensor, draws: Draws) -> keras.KerasTensor:
        """Move the object, and the parts of it; what becomes no product is fitted to the frame, as a cut-out is."""
        _, height, width, _ = images.shape
        y, x = ops.meshgrid(
            ops.arange(height, dtype="float32") - (height - 1) / 2,
            ops.arange(width, dtype="float32") - (width - 1) / 2,
            indexing="ij",
        )
        pose = self._pose(images, product[..., 0], draws)
        frame = ops.ones_like(images[..., 0])

        def posed(x: keras.KerasTensor, y: keras.KerasTensor) -> keras.KerasTensor:
            columns, rows, whole = pose(x * frame, y * frame)
            return resample(images, rows + (height - 1) / 2, columns + (width - 1) / 2) * whole[..., None]

        # From twice as far away all of it is in sight.
        left, right, top, bottom = outline.extent(posed(2 * x, 2 * y)[..., 0] > outline.VISIBLE)
        scale = ops.maximum(right - left, bottom - top) * 2 / height * (1 + draws.uniform(-0.06, 0.1)[..., 0])
        cloth = ~product[..., 0]
        scale = ops.where(cloth, scale, 1.0)
        x_centre = ops.where(cloth, left + right - (width - 1), 0.0)
        y_centre = ops.where(cloth, top + bottom - (height - 1), 0.0)
        return posed(x * scale + x_centre, y * scale + y_centre)

    def _pose(self, images: keras.KerasTensor, product: keras.KerasTensor, draws: Draws) -> Callable[..., Any]:
        """Draw a pose for each image.

        Returns:
            A function of coordinates from the centre, ``(n, h, w)`` across and down, that returns where to read the
            image, and 0 where nothing is to be seen.
        """
        _, height, width, _ = images.shape
        reach = ops.where(product, 0.5, 1.0)
        cloth = ~product
        shoe, low, top = outline.kinds(images)
        pair = cloth & shoe & draws.chance(self.pair_probability)[..., 0]
        splay = cloth & top & draws.chance(self.splay_probability)[..., 0]
        x_shift = reach * draws.uniform(-self.shift * width, self.shift * width)[..., 0]
        y_shift = reach * draws.uniform(-self.shift * height, self.shift * height)[..., 0]
        angle = draws.uniform(-self.rotation_radians, self.rotation_radians)[..., 0]
        angle = angle * ops.where(cloth & shoe, 3.0, reach)  # shoes lie as they were taken off
        scale = 1 / (1 + reach * draws.uniform(-self.zoom, self.zoom)[..., 0])
        wider = reach * draws.uniform(-math.log1p(self.aspect_jitter / 4), math.log1p(self.aspect_jitter))[..., 0]
        wider = ops.exp(ops.where(cloth & shoe, 0.0, wider) / 2)
        tilt = ops.where(cloth, draws.uniform(-MOST_TILT, MOST_TILT)[..., 0], 0.0)
        mirror = ops.where(cloth & draws.chance(self.mirror_probability)[..., 0], -1.0, 1.0)
        across = outline.half_of_body(images) + draws.uniform(-1.0, 0.5)[..., 0]
        up = -draws.uniform(*SHOULDER_UP)[..., 0]
        sleeve = draws.uniform(*SLEEVE_RADIANS)[..., 0]
        paired = self._paired(images, pair, low, draws)
        bend = ops.where(cloth, self.warp_pixels, 0.0)
        x_bend, y_bend = (bend * draws.field(5)[..., 0] for _ in range(2))

        def pose(x: keras.KerasTensor, y: keras.KerasTensor) -> tuple[keras.KerasTensor, ...]:
            x, y = _turned((x + x_shift) * scale / wider, (y + y_shift) * scale * wider, angle)
            x = mirror * x * (1 + tilt * y)
            splayed_x, splayed_y, seen = _splayed(x, y, across, up, sleeve)
            x, y = paired(ops.where(splay, splayed_x, x), ops.where(splay, splayed_y, y))
            return x + x_bend, y + y_bend, ops.where(splay & ~seen, 0.0, 1.0)

        return pose

    def _paired(
        self, images: keras.KerasTensor, pair: keras.KerasTensor, low: keras.KerasTensor, draws: Draws
    ) -> Callable[..., Any]:
        """Draw how shoes become pairs: a low one turned a quarter, on its side or from above; a boot as it stands.

        Returns:
            A function from coordinates to those where to read the image, as ``_pose`` has them.
        """
        upper = outline.upper_edge(images)
        seen_from_above = draws.chance(FROM_ABOVE)[..., 0]
        breadth = draws.uniform(*SHOE_BREADTH)[..., 0]
        toe = ops.where(draws.chance(0.5)[..., 0], -1.0, 1.0)

        def paired(x: keras.KerasTensor, y: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
            half = ops.abs(x) - PAIR_HALF  # in each half of the picture, from the middle of its shoe
            along = toe * y
            # From above, the upper edge of the side view is in the middle, and the sole around it.
            above = outline.at(upper, along) + breadth * ops.abs(half)
            return (
                ops.where(pair, ops.where(low, along, 2 * half), x),
                ops.where(pair & low, ops.where(seen_from_above, above, half), y),
            )

        return paired

    def _surface(self, objects: keras.KerasTensor, silhouette: keras.KerasTensor, draws: Draws) -> keras.KerasTensor:
        """Give the cloth another brightness, a print, stripes, folds and light from one side."""
        objects = ops.where(draws.chance(0.1), (1 - objects) * silhouette, objects)
        level, _ = _moments(objects, silhouette)
        cloth = level + draws.uniform(0.3, 1.0) * (objects - level)
        cloth = ops.power(ops.clip(cloth, 1e-3, 1), ops.exp(draws.uniform(-0.6, 0.6)))
        print_strength = draws.uniform(0.1, 0.4) * ops.cast(draws.chance(0.25), "float32")
        cloth = cloth + print_strength * ops.tanh(2 * draws.field(11)) * self._spot(objects, draws)
        stripes = draws.uniform(0.1, 0.35) * ops.cast(draws.chance(0.15), "float32")
        cloth = cloth + stripes * self._waves(objects, draws)
        cloth = cloth + draws.uniform(0.0, 0.1) * draws.field(11)
        cloth = cloth * ops.exp(draws.uniform(0.0, 0.3) * draws.field(3))
        cloth = ops.where(draws.chance(self.surface_probability), cloth, objects)
        # A cut-out is brought to full brightness, and nothing on it is as dark as its ground.
        level, deviation = _moments(cloth, silhouette)
        cloth = cloth * draws.uniform(0.8, 1.0) / ops.maximum(level + BRIGHTEST * deviation, 0.05)
        return ops.clip(cloth, DIMMEST, 1) * silhouette

    def _cut_out(self, cloth: keras.KerasTensor, silhouette: keras.KerasTensor, draws: Draws) -> keras.KerasTensor:
        """Lose parts of the object, keep parts of the ground and of its shadow."""
        lost, cropped, residue, shadow = (ops.cast(draws.chance(self.defect_probability), "float32") for _ in range(4))
        kept = 1 - lost * ops.sigmoid(12 * (draws.field(6) - draws.uniform(1.0, 2.2)))
        kept = kept * (1 - cropped * self._beyond_the_photo(cloth, draws))
        ground = ops.clip(draws.uniform(0.05, 0.9) + 0.15 * draws.field(14), 0, 1)
        where = ops.sigmoid(10 * (draws.field(5) - draws.uniform(0.6, 2.2)))
        # Most of it clings to the object, some lies apart.
        near = keras.ops.max_pool(silhouette, 7, 1, "same")
        where = residue * where * ops.where(draws.chance(0.7), near, ops.ones_like(near))
        shadow = shadow * draws.uniform(0.1, 0.5) * ops.sigmoid(4 * draws.field(4)) * _soft(near)
        body = silhouette * kept
        return body * cloth + (1 - body) * ops.maximum(where * ground, shadow)

    def _camera(self, pictures: keras.KerasTensor, draws: Draws) -> keras.KerasTensor:
        """Blur or sharpen, and add noise."""
        soft = _soft(pictures)
        amount = draws.uniform(-0.6, 0.7)
        grain = draws.uniform(0.0, 0.05) * draws.grain()
        # Noise only where something is: the ground of a cut-out is 0.
        present = ops.cast(pictures > outline.VISIBLE, "float32")
        return ops.clip(pictures + amount * (soft - pictures) * present + grain * present, 0, 1)

    def _beyond_the_photo(self, images: keras.KerasTensor, draws: Draws) -> keras.KerasTensor:
        """Return 1 where an edge of the photo cut a part of the object off, else 0."""
        _, height, width, _ = images.shape
        y = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1, 1))
        x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width, 1))
        reach = draws.uniform(0.0, 0.2)
        side = draws.uniform(0.0, 4.0)
        across, along = (x + 0.5) / width, (y + 0.5) / height
        place = ops.where(side < 1, along, ops.where(side < 2, 1 - along, ops.where(side < 3, across, 1 - across)))
        return ops.cast(place < reach, "float32")

    def _spot(self, images: keras.KerasTensor, draws: Draws) -> keras.KerasTensor:
        """Return a soft spot in the middle, where prints are."""
        _, height, width, _ = images.shape
        y = ops.reshape((ops.arange(height, dtype="float32") - (height - 1) / 2) / height, (1, height, 1, 1))
        x = ops.reshape((ops.arange(width, dtype="float32") - (width - 1) / 2) / width, (1, 1, width, 1))
        size = draws.uniform(0.1, 0.6)
        return ops.exp(-ops.square(ops.square(x / size) + ops.square((y + draws.uniform(-0.1, 0.1)) / size)))

    def _waves(self, images: keras.KerasTensor, draws: Draws) -> keras.KerasTensor:
        """Return stripes across, along or both, in -1 to 1."""
        _, height, width, _ = images.shape
        y = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1, 1))
        x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width, 1))
        wave = 2 * math.pi / draws.uniform(2.5, 9.0)
        across = ops.sin(wave * y + draws.uniform(0, 6.3))
        along = ops.sin(wave * x + draws.uniform(0, 6.3))
        kind = draws.uniform(0.0, 3.0)
        return ops.where(kind < 1.5, across, ops.where(kind < 2, along, (across + along) / 2))


def _turned(
    x: keras.KerasTensor, y: keras.KerasTensor, angle: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    cosine, sine = ops.cos(angle), ops.sin(angle)
    return cosine * x - sine * y, sine * x + cosine * y


def _splayed(
    x: keras.KerasTensor,
    y: keras.KerasTensor,
    across: keras.KerasTensor,
    up: keras.KerasTensor,
    sleeve: keras.KerasTensor,
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Turn what is outside of the shoulders outward; return where to read, and whether something is to be seen."""
    outside = ops.abs(x) > across
    turned_x, turned_y = _turned(ops.abs(x) - across, y - up, sleeve)
    return (
        ops.where(outside, ops.sign(x) * (turned_x + across), x),
        ops.where(outside, turned_y + up, y),
        ~outside | (turned_x > 0),  # the cloth went with the sleeve
    )


def _moments(pictures: keras.KerasTensor, silhouette: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the mean and the deviation of the brightness on the object, each ``(n, 1, 1, 1)``."""
    size = ops.maximum(ops.sum(silhouette, axis=(1, 2, 3), keepdims=True), 1.0)
    mean = ops.sum(pictures * silhouette, axis=(1, 2, 3), keepdims=True) / size
    variance = ops.sum(ops.square(pictures - mean) * silhouette, axis=(1, 2, 3), keepdims=True) / size
    return mean, ops.sqrt(variance + 1e-6)


def _soft(pictures: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean of 3 x 3 pixels."""
    return keras.ops.average_pool(pictures, 3, 1, "same")
