"""What the model receives for one image file."""

from typing import NamedTuple

import numpy as np

from fashion.arrays import ImagePixels, Mask, Pixels


class ModelInput(NamedTuple):
    """The model's pixels for one image, and how they were obtained.

    Attributes:
        pixels: ``(h, w, c)``: uint8, 0-255, from an image file; float32 in [0, 1] where a client sends numbers.
        steps: One phrase for each step of the preprocessing.
        mask: ``(h, w)`` bool, the pixels of the object in the upright, reduced photo; None if nothing was segmented.
    """

    pixels: ImagePixels
    steps: tuple[str, ...]
    mask: Mask | None = None

    @property
    def is_photo(self) -> bool:
        """Whether the object was segmented from a photo."""
        return self.mask is not None

    @property
    def views(self) -> Pixels:
        """The images to predict, ``(k, h, w, c)``: for a photo also its mirror image (flip TTA)."""
        return np.stack([self.pixels, self.pixels[:, ::-1]]) if self.is_photo else self.pixels[np.newaxis]
