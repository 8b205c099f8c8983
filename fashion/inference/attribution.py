"""Which pixels a prediction depends on: occlusion sensitivity (Zeiler and Fergus, 2014, arXiv:1311.2901).

It needs nothing but predictions, so it works on every backend and for every model.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from jaxtyping import Bool

from fashion.arrays import HeatMap, ImagePixels, ModelInputs, Pixels, Probabilities
from fashion.inference.batcher import are_joined, batch_sizes

PATCH, STRIDE = 6 / 28, 2 / 28  # of the image's side
# Of larger images, for which somebody waits as well, the square is larger and takes fewer positions: with model=resnet
# on 2 busy cores, 225 images of 28 x 28 take 0.15 s, and 49 of 224 x 224 0.4 s.
LARGE_SIDE = 64  # pixels
LARGE_PATCH, LARGE_STRIDE = 8 / 28, 4 / 28
MAX_BATCH = 64  # images; while a batch is computed, other requests wait
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
    rows, columns = _intervals(height), _intervals(width)
    images = _covered(pixels, rows, columns, np.array(fill, np.float32))
    predicted = np.concatenate([predict(batch) for batch in images])
    chosen = np.clip(predicted[:, class_index].astype(np.float64), MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    log_odds = np.log(chosen) - np.log1p(-chosen)
    losses = (log_odds[0] - log_odds[1:]).reshape(len(rows), len(columns))
    covering = np.outer(rows.sum(axis=0), columns.sum(axis=0))
    loss = rows.T.astype(np.float64) @ losses @ columns.astype(np.float64) / covering
    strongest = loss.max()
    if strongest <= 0:
        return np.zeros((height, width), np.float32)
    return np.clip(loss / strongest, 0, 1).astype(np.float32)


def _covered(
    pixels: ImagePixels, rows: Bool[np.ndarray, "y h"], columns: Bool[np.ndarray, "x w"], fill: np.ndarray
) -> Iterator[ModelInputs]:
    """Yield the image as it is, then with the square at each position, row by row, in batches of bounded size."""
    size = max(each for each in batch_sizes(pixels.shape) if each <= MAX_BATCH) if are_joined(pixels.shape) else 1
    batch = [pixels]
    for vertical, horizontal in product(rows, columns):
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
        covered = pixels.copy()
        covered[np.ix_(vertical, horizontal)] = fill
        batch.append(covered)
    yield np.stack(batch)


def _intervals(length: int) -> Bool[np.ndarray, "n length"]:
    """Return the pixels along one axis that each position of the square covers.

    Some extend beyond the edges, so that all pixels are covered as often.
    """
    shares = (PATCH, STRIDE) if length <= LARGE_SIDE else (LARGE_PATCH, LARGE_STRIDE)
    patch, stride = (round(share * length) for share in shares)
    starts = np.arange(stride - patch + 1, length - stride, stride)
    position = np.arange(length)
    return (position >= starts[:, None]) & (position < starts[:, None] + patch)
