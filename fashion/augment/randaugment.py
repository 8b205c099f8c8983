"""RandAugment: a few operations, drawn for each image from fourteen, all of one magnitude."""

import math
from collections.abc import Callable
from typing import Annotated

import keras
from keras import ops
from pydantic import Field

from fashion.augment.color import adjust_chroma, sharpen
from fashion.augment.crops import Coordinates, Crops, MaxAspect, MinScale, Probability
from fashion.augment.resample import pixel_grid, resample_inside
from fashion.augment.tone_curves import ToneCurves

OPERATIONS = (
    "identity", "autocontrast", "equalize", "rotate", "solarize", "color", "posterize", "contrast", "brightness",
    "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
MAX_MAGNITUDE = 10
# What the greatest magnitude means, as in AutoAugment (Cubuk et al., 2018, arXiv:1805.09501): radians, pixels across
# for each pixel down, share of the side, change of a factor, bits lost of eight.
ROTATION, SHEAR, TRANSLATION, ENHANCEMENT, LOST_BITS = math.radians(30), 0.3, 150 / 331, 0.9, 4
Directions = Callable[[str], keras.KerasTensor]


class RandAugment(keras.layers.Layer):
    """RandAugment (Cubuk et al., 2019, arXiv:1909.13719) with a random resized crop and a flip.

    The drawn operations are applied in a fixed order: sharpness, tone curves, colour, and geometry, which is one
    bilinear resampling together with crop and flip. Beyond the edges the outermost pixels are repeated.

    Args:
        num_ops: Operations drawn for each image, with replacement (the paper's N).
        magnitude: Their strength, from 0 to 10 (the paper's M).
        min_scale: Areas of the crops are uniform in this share of the image to all of it.
        max_aspect: Widths over heights of the crops are log-uniform between the inverse of this and this.
        flip_probability: Share of images that are flipped left to right.
        seed: Seed of the random parameters; each training step draws new ones.
    """

    def __init__(
        self,
        num_ops: Annotated[int, Field(ge=1, le=8)],
        magnitude: Annotated[float, Field(ge=0, le=MAX_MAGNITUDE)],
        min_scale: MinScale,
        max_aspect: MaxAspect,
        flip_probability: Probability,
        *,
        seed: int,
    ) -> None:
        super().__init__(name="augment", dtype="float32")
        self.num_ops = num_ops
        self.strength = magnitude / MAX_MAGNITUDE
        self.crops = Crops(min_scale, max_aspect, flip_probability)
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, h, w, c)`` images in [0, 1], transformed in training and untouched otherwise."""
        if not training:
            return images
        shape = (self.num_ops, ops.shape(images)[0], 1, 1)
        drawn = keras.random.randint(shape, 0, 2 * len(OPERATIONS), dtype="int32", seed=self.random)

        def directions(name: str) -> keras.KerasTensor:
            """Return 1 or -1 where a step drew the operation, and 0 elsewhere: ``(num_ops, n, 1, 1)`` float32."""
            number = 2 * OPERATIONS.index(name)
            return ops.cast(drawn == number, "float32") - ops.cast(drawn == number + 1, "float32")

        in_image = self.crops.sample(images, self.random)
        recolored = self._recolored(images, directions)  # first: XLA would resample anew for each use of its result
        return resample_inside(recolored, *in_image(*self._in_crop(images, directions)))

    def _in_crop(self, images: keras.KerasTensor, directions: Directions) -> Coordinates:
        """Return where in the crop each output pixel comes from."""
        _, height, width, _ = images.shape
        angle = self.strength * ROTATION * directions("rotate")
        cosine, sine = ops.cos(angle), ops.sin(angle)
        shear_x, shear_y = (self.strength * SHEAR * directions(name) for name in ("shear_x", "shear_y"))
        right = self.strength * TRANSLATION * width * directions("translate_x")
        down = self.strength * TRANSLATION * height * directions("translate_y")
        y, x = pixel_grid(images)
        for step in range(self.num_ops):
            y, x = (
                cosine[step] * y + (shear_y + sine)[step] * x + down[step],
                cosine[step] * x + (shear_x - sine)[step] * y + right[step],
            )
        return y, x

    def _recolored(self, images: keras.KerasTensor, directions: Directions) -> keras.KerasTensor:
        def chosen(name: str) -> keras.KerasTensor:
            return ops.any(directions(name) != 0, axis=0)

        def factor(name: str) -> keras.KerasTensor:
            return ops.prod(1 + self.strength * ENHANCEMENT * directions(name), axis=0)

        curves = ToneCurves(sharpen(images, factor("sharpness")[..., None]))
        curves.autocontrast(chosen("autocontrast"))
        curves.equalize(chosen("equalize"))
        curves.posterize(chosen("posterize"), 8 - round(self.strength * LOST_BITS))
        curves.solarize(chosen("solarize"), 1 - self.strength)
        curves.brighten(factor("brightness"))
        curves.stretch(factor("contrast"))
        return ops.clip(adjust_chroma(curves.apply(), factor("color")[..., None]), 0, 1)
