"""Random resized crop, horizontal flip and colour jitter: the usual augmentation for photos."""

from typing import Annotated

import keras
from keras import ops
from pydantic import Field

from fashion.augment.color import adjust_color
from fashion.augment.crops import Crops, MaxAspect, MinScale, Probability
from fashion.augment.resample import pixel_grid, resample_inside

Jitter = Annotated[float, Field(ge=0, le=1)]


class RandomCrop(keras.layers.Layer):
    """Resize a random part of each image to its full size, flip it left to right, change its colours.

    Crop (Szegedy et al., 2015, arXiv:1409.4842) and flip are one bilinear resampling.

    Args:
        min_scale: Areas of the crops are uniform in this share of the image to all of it.
        max_aspect: Widths over heights of the crops, before they are resized, are log-uniform between this and its
            inverse, relative to the image's own.
        flip_probability: Share of images that are flipped left to right.
        brightness: Factors are uniform in 1 minus this to 1 plus this.
        contrast: Factors are uniform in 1 minus this to 1 plus this.
        saturation: Factors are uniform in 1 minus this to 1 plus this; one channel has no saturation.
        hue: Rotations are uniform in plus and minus this share of a full turn; one channel has no hue.
        seed: Seed of the random parameters; each training step draws new ones.
    """

    def __init__(
        self,
        min_scale: MinScale,
        max_aspect: MaxAspect,
        flip_probability: Probability,
        brightness: Jitter,
        contrast: Jitter,
        saturation: Jitter,
        hue: Annotated[float, Field(ge=0, le=0.5)],
        *,
        seed: int,
    ) -> None:
        super().__init__(name="augment", dtype="float32")
        self.crops = Crops(min_scale, max_aspect, flip_probability)
        self.jitter = (brightness, contrast, saturation)
        self.hue = hue
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, h, w, c)`` images in [0, 1], transformed in training and untouched otherwise."""
        if not training:
            return images
        in_image = self.crops.sample(images, self.random)
        if any((*self.jitter, self.hue)):  # before the crop: XLA would resample anew for each use of its result
            numbers = keras.random.uniform((4, ops.shape(images)[0], 1, 1, 1), -1, 1, seed=self.random)
            brightness, contrast, saturation = (1 + reach * numbers[index] for index, reach in enumerate(self.jitter))
            images = adjust_color(images, brightness, contrast, saturation, self.hue * numbers[3])
        return resample_inside(images, *in_image(*pixel_grid(images)))
