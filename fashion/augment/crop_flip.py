"""Random flip, crop of the padded image and erasing: the usual augmentation for CIFAR."""

import math
from typing import Annotated

import keras
from keras import ops
from pydantic import Field

from fashion.augment.resample import resample

# Erased rectangles, as in Zhong et al. (2020): share of the image, and height over width.
ERASED_SHARE, ERASED_ASPECT = (0.02, 0.4), (0.3, 1 / 0.3)


class CropFlip(keras.layers.Layer):
    """Flip each image left to right, shift it by whole pixels over background, erase a rectangle; each at random.

    Args:
        padding_pixels: Shifts are uniform over the whole numbers from minus to plus this, on both axes.
        flip_probability: Share of images that are flipped left to right.
        erase_probability: Share of images in which a rectangle becomes noise (random erasing: Zhong et al., 2020,
            arXiv:1708.04896).
        seed: Seed of the random parameters; each training step draws new ones.
    """

    def __init__(
        self,
        padding_pixels: Annotated[int, Field(ge=0, le=64)],
        flip_probability: Annotated[float, Field(ge=0, le=1)],
        erase_probability: Annotated[float, Field(ge=0, le=1)],
        *,
        seed: int,
    ) -> None:
        super().__init__(name="augment", dtype="float32")
        self.padding_pixels = padding_pixels
        self.flip_probability = flip_probability
        self.erase_probability = erase_probability
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, h, w, c)`` images, transformed in training and untouched otherwise."""
        if not training:
            return images
        _, height, width, _ = images.shape
        count = ops.shape(images)[0]
        reach = self.padding_pixels
        shifts = keras.random.randint((2, count, 1, 1), -reach, reach + 1, dtype="int32", seed=self.random)
        flipped = keras.random.uniform((count, 1, 1), seed=self.random) < self.flip_probability
        y, x = ops.meshgrid(ops.arange(height, dtype="float32"), ops.arange(width, dtype="float32"), indexing="ij")
        rows = y + ops.cast(shifts[0], "float32")
        columns = ops.where(flipped, width - 1 - x, x) + ops.cast(shifts[1], "float32")
        moved = resample(images, rows, columns)
        return self._erased(moved) if self.erase_probability else moved

    def _erased(self, images: keras.KerasTensor) -> keras.KerasTensor:
        _, height, width, _ = images.shape
        count = ops.shape(images)[0]
        numbers = keras.random.uniform((5, count, 1, 1, 1), seed=self.random)
        low, high = ERASED_SHARE
        area = (low + (high - low) * numbers[0]) * height * width
        low, high = (math.log(aspect) for aspect in ERASED_ASPECT)
        aspect = ops.exp(low + (high - low) * numbers[1])
        tall = ops.minimum(ops.round(ops.sqrt(area * aspect)), height)
        wide = ops.minimum(ops.round(ops.sqrt(area / aspect)), width)
        top = ops.floor(numbers[2] * (height - tall + 1))
        left = ops.floor(numbers[3] * (width - wide + 1))
        y = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1, 1))
        x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width, 1))
        inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
        erased = inside & (numbers[4] < self.erase_probability)
        return ops.where(erased, keras.random.uniform(ops.shape(images), seed=self.random), images)
