"""Operations on the histogram of a batch, as Pillow's ``ImageOps`` has them.

Each maps the 256 levels of a channel to others. So they are applied to curves, 256 numbers for each channel of each
image, and one look-up of every pixel applies them all.
"""

import keras
from keras import ops

from fashion.augment.color import LUMA

LEVELS = 256


class ToneCurves:
    """The curves of one batch, first the identity; every method changes those of the images that it is given.

    Args:
        images: ``(n, h, w, c)`` float32 in [0, 1], rounded to 256 levels.
    """

    def __init__(self, images: keras.KerasTensor) -> None:
        _, self._height, self._width, channels = images.shape
        count = ops.shape(images)[0] * channels
        offsets = LEVELS * ops.reshape(ops.arange(count, dtype="int32"), (-1, 1, 1, channels))
        self._levels = ops.cast(ops.round(images * (LEVELS - 1)), "int32") + offsets  # in the list of all curves
        ones = ops.ones((count * self._height * self._width,), dtype="float32")
        histogram = ops.segment_sum(ones, ops.reshape(self._levels, (-1,)), count * LEVELS)
        self._histogram = ops.reshape(histogram, (-1, channels, LEVELS))
        self._curves = ops.zeros_like(self._histogram) + ops.arange(LEVELS, dtype="float32") / (LEVELS - 1)

    def apply(self) -> keras.KerasTensor:
        """Return the images, ``(n, h, w, c)`` float32 in [0, 1], with all changes."""
        return ops.take(ops.reshape(self._curves, (-1,)), self._levels)

    def autocontrast(self, chosen: keras.KerasTensor) -> None:
        """Stretch each channel from its darkest and brightest pixel to 0 and 1, unless it has one level only.

        Args:
            chosen: ``(n, 1, 1)`` bool; so below.
        """
        present = self._histogram > 0
        low = ops.min(ops.where(present, self._curves, 1.0), axis=-1, keepdims=True)
        reach = ops.max(ops.where(present, self._curves, 0.0), axis=-1, keepdims=True) - low
        stretched = (self._curves - low) / ops.where(reach > 0, reach, 1.0)
        self._change(chosen & (reach > 0), ops.clip(stretched, 0, 1))

    def equalize(self, chosen: keras.KerasTensor) -> None:
        """Flatten the histogram of each channel, with Pillow's rounding; its curve must be increasing."""
        darker = ops.cumsum(self._histogram, axis=-1) - self._histogram
        step = ops.max(ops.where(self._histogram > 0, darker, 0.0), axis=-1, keepdims=True)
        step = ops.floor(step / (LEVELS - 1))
        level = ops.floor((ops.floor(step / 2) + darker) / ops.maximum(step, 1.0))
        self._change(chosen & (step > 0), ops.minimum(level / (LEVELS - 1), 1.0))

    def posterize(self, chosen: keras.KerasTensor, bits: int) -> None:
        """Keep the highest bits of the eight of each level."""
        width = 2 ** (8 - bits)
        self._change(chosen, ops.floor(ops.round(self._curves * (LEVELS - 1)) / width) * (width / (LEVELS - 1)))

    def solarize(self, chosen: keras.KerasTensor, threshold: float) -> None:
        """Negate what is as bright as a threshold in [0, 1], or brighter."""
        self._change(chosen & (self._curves >= threshold), 1 - self._curves)

    def brighten(self, factor: keras.KerasTensor) -> None:
        """Multiply by a factor, ``(n, 1, 1)``."""
        self._curves = ops.clip(self._curves * factor, 0, 1)

    def stretch(self, factor: keras.KerasTensor) -> None:
        """Multiply the contrast, relative to the image's mean luma, by a factor, ``(n, 1, 1)``."""
        means = ops.sum(self._histogram * self._curves, axis=-1, keepdims=True) / (self._height * self._width)
        if means.shape[1] == 3:
            means = ops.sum(means * LUMA[:, None], axis=1, keepdims=True)
        self._curves = ops.clip(means + factor * (self._curves - means), 0, 1)

    def _change(self, chosen: keras.KerasTensor, curves: keras.KerasTensor) -> None:
        self._curves = ops.where(chosen, curves, self._curves)
