"""The random numbers of one batch of augmented images."""

import keras
import numpy as np
from keras import ops

NUMBERS, NORMALS = 64, 1_600  # drawn for an image, a few more than are used
FIELD_DEVIATION = 1.4  # makes good for what interpolation averages away


class Draws:
    """The random numbers of one batch, drawn at once: each draw of its own would take as long to compile and run.

    Args:
        images: ``(n, h, w, 1)``, the batch.
        random: Source of the numbers.
    """

    def __init__(self, images: keras.KerasTensor, random: keras.random.SeedGenerator) -> None:
        count, self._height, self._width = ops.shape(images)[0], images.shape[1], images.shape[2]
        self._numbers = keras.random.uniform((count, NUMBERS), seed=random)
        self._normals = keras.random.normal((count, NORMALS), seed=random)
        self._numbers_used = self._normals_used = 0

    def uniform(self, low: float, high: float) -> keras.KerasTensor:
        """Return one number for each image, ``(n, 1, 1, 1)``."""
        self._numbers_used += 1
        chosen = self._numbers[:, self._numbers_used - 1 : self._numbers_used]
        return low + (high - low) * ops.reshape(chosen, (-1, 1, 1, 1))

    def chance(self, probability: float) -> keras.KerasTensor:
        """Return whether it happens, for each image, ``(n, 1, 1, 1)`` bool."""
        return self.uniform(0.0, 1.0) < probability

    def field(self, knots: int) -> keras.KerasTensor:
        """Return ``(n, h, w, 1)``: values about 0, of deviation about 1, that vary smoothly between knots."""
        start = self._normals_used
        self._normals_used += knots**2
        coarse = ops.reshape(self._normals[:, start : self._normals_used], (-1, knots, knots))
        across, down = _interpolation(self._width, knots), _interpolation(self._height, knots)
        return FIELD_DEVIATION * ops.einsum("hk,nkl,wl->nhw", down, coarse, across)[..., None]

    def grain(self) -> keras.KerasTensor:
        """Return ``(n, h, w, 1)``: every pixel for itself, of deviation 1."""
        start = self._normals_used
        self._normals_used += self._height * self._width
        return ops.reshape(self._normals[:, start : self._normals_used], (-1, self._height, self._width, 1))


def _interpolation(side: int, knots: int) -> np.ndarray:
    """Return the ``(side, knots)`` float32 matrix of linear interpolation."""
    places = np.arange(side)[:, np.newaxis] * ((knots - 1) / (side - 1))
    return np.maximum(0, 1 - np.abs(places - np.arange(knots))).astype(np.float32)
