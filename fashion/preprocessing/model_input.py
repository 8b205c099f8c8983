"""What the model receives for one image file."""

from typing import NamedTuple

import numpy as np

from fashion.arrays import GrayImage, GrayImages, Mask

INPUT_SIDE = 28  # pixels; the models take square images


class ModelInput(NamedTuple):
    """The model's pixels for one image, and how they were obtained.

    Attributes:
        pixels: ``(28, 28)`` uint8, 0-255, light on black as in Fashion-MNIST.
        steps: One phrase for each step of the preprocessing.
        mask: ``(h, w)`` bool, the pixels of the object in the upright, reduced photo; None if nothing was segmented.
    """

    pixels: GrayImage
    steps: tuple[str, ...]
    mask: Mask | None = None

    @property
    def is_photo(self) -> bool:
        """Whether the object was segmented from a photo."""
        return self.mask is not None

    @property
    def views(self) -> GrayImages:
        """The images to predict, ``(k, 28, 28)`` uint8: for a photo also its mirror image (flip TTA)."""
        return np.stack([self.pixels, self.pixels[:, ::-1]]) if self.is_photo else self.pixels[np.newaxis]
