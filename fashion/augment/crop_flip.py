"""Random mirror image and random crop of the padded image: the augmentation of the CIFAR tradition."""

from typing import Annotated

import keras
from keras import ops
from pydantic import Field

from fashion.augment.resample import resample


class CropFlip(keras.layers.Layer):
    """Mirror each image with a probability, and shift it by whole pixels over background.

    Args:
        padding_pixels: Shifts are uniform over the whole numbers from minus to plus this, on both axes.
        flip_probability: Share of images that are mirrored left to right.
        seed: Seed of the random draws; each training step draws anew.
    """

    def __init__(
        self,
        padding_pixels: Annotated[int, Field(ge=0, le=14)],
        flip_probability: Annotated[float, Field(ge=0, le=1)],
        *,
        seed: int,
    ) -> None:
        super().__init__(name="augment", dtype="float32")
        self.padding_pixels = padding_pixels
        self.flip_probability = flip_probability
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, h, w, 1)`` images, transformed in training and untouched otherwise."""
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
        return resample(images, rows, columns)
