"""Which pixels a prediction depends on: occlusion sensitivity (Zeiler and Fergus, 2014, arXiv:1311.2901).

It needs nothing but predictions, so it works on every backend and for every model.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from fashion.arrays import HeatMap, ImagePixels, Pixels, Probabilities
from fashion.inference.batcher import BATCH_SIZES

PATCH, STRIDE = 6 / 28, 2 / 28  # of the image's side
BATCH = BATCH_SIZES[-2]
MIN_PROBABILITY = 1e-7


def occlusion_sensitivity(
    predict: Callable[[Pixels], Probabilities], image: ImagePixels, class_index: int, fill: Sequence[float]
) -> HeatMap:
    """Return how much each pixel supports a class: by how much covering it lowers the class's log-odds.

    A square of one colour moves over the image; a pixel gets the mean of the losses under the squares that cover it.

    Args:
        predict: From float32 images in [0, 1] to probabilities.
        image: 0-255, or in [0, 1].
        class_index: The class.
        fill: Each channel of the square, in [0, 1]: the mean of the training images, since covering a gap or a dark
            part with black would cost nothing.

    Returns:
        Relative to the strongest pixel; all 0 if covering never lowers the log-odds.
    """
    pixels = image if image.dtype == np.float32 else image.astype(np.float32) / 255
    height, width, _ = pixels.shape
    patches = _patches(height, width)
    covered = np.where(patches[..., np.newaxis], np.array(fill, np.float32), pixels)
    images = np.concatenate([pixels[np.newaxis], covered])
    predicted = np.concatenate([predict(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])
    chosen = np.clip(predicted[:, class_index].astype(np.float64), MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    log_odds = np.log(chosen) - np.log1p(-chosen)
    loss = np.tensordot(log_odds[0] - log_odds[1:], patches, axes=1) / patches.sum(axis=0)
    strongest = loss.max()
    if strongest <= 0:
        return np.zeros((height, width), np.float32)
    return np.clip(loss / strongest, 0, 1).astype(np.float32)


def _patches(height: int, width: int) -> Bool[np.ndarray, "n h w"]:
    """Return the squares; some extend beyond the edges, so that all pixels are covered as often."""
    rows, columns = _intervals(height), _intervals(width)
    return (rows[:, None, :, None] & columns[None, :, None, :]).reshape(-1, height, width)


def _intervals(length: int) -> Bool[np.ndarray, "n length"]:
    """Return the pixels along one axis that each position of the square covers."""
    patch, stride = round(PATCH * length), round(STRIDE * length)
    starts = np.arange(stride - patch + 1, length - stride, stride)
    position = np.arange(length)
    return (position >= starts[:, None]) & (position < starts[:, None] + patch)
