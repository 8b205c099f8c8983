"""The random parameters of one batch of augmented images."""

import keras
import numpy as np
from jaxtyping import Float32
from keras import ops

UNIFORMS, NORMALS = 64, 1_600  # numbers for each image, a few more than are used
FIELD_SCALE = 1.4  # interpolation lowers the deviation of a random field; this restores it to about 1


class RandomParameters:
    """Random parameters, drawn at once: separate draws would each take as long to compile and to run.

    Args:
        images: ``(n, h, w, 1)``, the batch.
        random: Source of the numbers.
    """

    def __init__(self, images: keras.KerasTensor, random: keras.random.SeedGenerator) -> None:
        count, self._height, self._width = ops.shape(images)[0], images.shape[1], images.shape[2]
        self._uniforms = keras.random.uniform((count, UNIFORMS), seed=random)
        self._normals = keras.random.normal((count, NORMALS), seed=random)
        self._uniforms_used = self._normals_used = 0

    def uniform(self, low: float, high: float) -> keras.KerasTensor:
        """Return a number for each image, ``(n, 1, 1, 1)``, uniform in ``low`` to ``high``."""
        self._uniforms_used += 1
        chosen = self._uniforms[:, self._uniforms_used - 1 : self._uniforms_used]
        return low + (high - low) * ops.reshape(chosen, (-1, 1, 1, 1))

    def bernoulli(self, probability: float) -> keras.KerasTensor:
        """Return True for each image with a probability, ``(n, 1, 1, 1)`` bool."""
        return self.uniform(0.0, 1.0) < probability

    def smooth_field(self, knots: int) -> keras.KerasTensor:
        """Return a random field of mean 0 and deviation about 1, ``(n, h, w, 1)``, smooth between its knots."""
        start = self._normals_used
        self._normals_used += knots**2
        coarse = ops.reshape(self._normals[:, start : self._normals_used], (-1, knots, knots))
        across, down = _interpolation(self._width, knots), _interpolation(self._height, knots)
        return FIELD_SCALE * ops.einsum("hk,nkl,wl->nhw", down, coarse, across)[..., None]

    def white_noise(self) -> keras.KerasTensor:
        """Return an independent standard normal number for each pixel, ``(n, h, w, 1)``."""
        start = self._normals_used
        self._normals_used += self._height * self._width
        return ops.reshape(self._normals[:, start : self._normals_used], (-1, self._height, self._width, 1))


def _interpolation(side: int, knots: int) -> Float32[np.ndarray, "side knots"]:
    """Return the ``(side, knots)`` float32 matrix of linear interpolation."""
    places = np.arange(side)[:, np.newaxis] * ((knots - 1) / (side - 1))
    weights: np.ndarray = np.maximum(0, 1 - np.abs(places - np.arange(knots)))
    return weights.astype(np.float32)
