"""What becomes of a picture before the model sees it."""

from typing import NamedTuple

import numpy as np

SIDE = 28


class Prepared(NamedTuple):
    """What the model sees, and what was done to get it.

    Attributes:
        pixels: ``(28, 28)`` uint8, 0-255, light on black as in Fashion-MNIST.
        steps: One phrase for each thing done.
        mask: ``(h, w)`` bool, what was cut out of a photo, of the upright picture made smaller; None: nothing was.
    """

    pixels: np.ndarray
    steps: tuple[str, ...]
    mask: np.ndarray | None = None

    @property
    def is_photo(self) -> bool:
        """Whether it was cut out of a photo."""
        return self.mask is not None
