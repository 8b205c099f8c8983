"""Which pixels an answer hangs on, by covering them: occlusion sensitivity (Zeiler and Fergus, 2014, arXiv:1311.2901).

It needs nothing but answers, so that it works on every backend and for every model.
"""

from collections.abc import Callable

import numpy as np

SIDE = 28
PATCH, STRIDE = 6, 2
BATCH = 64  # a size that every predictor has compiled
# The mean pixel of the training images. Covered in black, a gap or a dark part would be no loss.
COVER = 0.286
LEAST_PROBABILITY = 1e-7


def occlusion(predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray, class_index: int) -> np.ndarray:
    """Return how much each pixel speaks for a class: what the class's log-odds lose when it is covered.

    A grey square moves over the image; a pixel gets the mean of the losses under the squares that cover it.

    Args:
        predict: ``(n, 28, 28)`` float32 images in [0, 1] to ``(n, classes)`` probabilities.
        image: ``(28, 28)`` uint8, 0-255, or float32 in [0, 1].
        class_index: Which class.

    Returns:
        ``(28, 28)`` float32 in [0, 1]; 1 is the strongest, and everything is 0 where covering never harms.
    """
    pixels = image if image.dtype == np.float32 else image.astype(np.float32) / 255
    covers = _covers()
    images = np.concatenate([pixels[np.newaxis], np.where(covers, np.float32(COVER), pixels)])
    answers = np.concatenate([predict(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])
    chosen = np.clip(answers[:, class_index].astype(np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    log_odds = np.log(chosen) - np.log1p(-chosen)
    loss = np.tensordot(log_odds[0] - log_odds[1:], covers, axes=1) / covers.sum(axis=0)
    strongest = loss.max()
    if strongest <= 0:
        return np.zeros((SIDE, SIDE), np.float32)
    return np.clip(loss / strongest, 0, 1).astype(np.float32)


def _covers() -> np.ndarray:
    """Return ``(n, 28, 28)`` bool, the squares; those at the rim reach over it, so that it counts like the middle."""
    starts = np.arange(STRIDE - PATCH + 1, SIDE - STRIDE, STRIDE)
    position = np.arange(SIDE)
    along = (position >= starts[:, None]) & (position < starts[:, None] + PATCH)
    return (along[:, None, :, None] & along[None, :, None, :]).reshape(-1, SIDE, SIDE)
