"""What becomes of a picture before the model sees it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fashion.uncertainty.posthoc import Prediction

SIDE = 28


class ModelInput(NamedTuple):
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

    @property
    def views(self) -> np.ndarray:
        """What the model is shown, ``(k, 28, 28)`` uint8: of a photo also the mirror image, for nobody posed it."""
        return np.stack([self.pixels, self.pixels[:, ::-1]]) if self.is_photo else self.pixels[np.newaxis]


def shown(pictures: Sequence[ModelInput], predict: Callable[[np.ndarray], Prediction]) -> Prediction:
    """Return one answer to each picture, the mean over its views.

    Args:
        pictures: At least one.
        predict: ``(n, 28, 28)`` uint8 images to their answers.
    """
    views = [picture.views for picture in pictures]
    counts = np.array([len(each) for each in views])
    starts = np.cumsum(counts) - counts
    answer = predict(np.concatenate(views))

    def mean(rows: np.ndarray) -> np.ndarray:
        sums = np.add.reduceat(rows, starts)
        return sums / counts.reshape(-1, *[1] * (rows.ndim - 1)).astype(rows.dtype)

    means = Prediction(*map(mean, answer))
    photos = np.array([[picture.is_photo] for picture in pictures])
    return means._replace(probabilities=np.where(photos, means.photo_probabilities, means.probabilities))
