"""Images that are in the data set more than once: byte for byte, or nearly."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Of 144 pairs without trousers, looked at in bands of their correlation, those above 0.99 show one product twice, often
# in another colour or with another print; from 0.985 about every second one does, below that few: they share a cut.
# Of trousers 144 more: above 0.995 they are the same, from 0.99 on it cannot be told, since at 28 x 28 all straight
# trousers look alike.
NEAR = 0.99
SENSITIVITY = (0.999, NEAR, 0.98, 0.97)  # the thresholds at which counts and accuracies are told

ROWS, COLUMNS = 2048, 8192  # of one block of the correlation matrix: 64 MiB, and products large enough for full speed


class Pairs(NamedTuple):
    """Pairs of images, by position.

    Attributes:
        first: ``(m,)`` int64.
        second: ``(m,)`` int64, each greater than its ``first``.
        similarity: ``(m,)`` float32, correlation of the pixels, at most 1.
    """

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray

    def above(self, threshold: float) -> "Pairs":
        """Return the pairs whose similarity is greater than a threshold."""
        return self.where(self.similarity > threshold)

    def where(self, chosen: np.ndarray) -> "Pairs":
        """Return the pairs that a ``(m,)`` mask or index chooses."""
        return Pairs(self.first[chosen], self.second[chosen], self.similarity[chosen])


def exact_duplicates(images: np.ndarray) -> list[list[int]]:
    """Return the groups of positions whose ``(n, 28, 28)`` uint8 images are equal to the byte, each of two or more."""
    positions: dict[bytes, list[int]] = {}
    for position, image in enumerate(images):
        positions.setdefault(image.tobytes(), []).append(position)
    return [group for group in positions.values() if len(group) > 1]


def similar_pairs(images: np.ndarray, threshold: float) -> Pairs:
    """Find all pairs whose pixels correlate, which neither brightness nor contrast changes, by blocked matrix products.

    Geier (2019, arXiv 1906.08255) found Fashion-MNIST's near duplicates between train and test; here all pairs of all
    images are compared, within the splits too.

    Args:
        images: ``(n, 28, 28)`` uint8.
        threshold: The correlation that a pair must exceed.

    Returns:
        The pairs, the most similar first. Images of one grey, which correlate with nothing, are in none.
    """
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    pixels /= np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    found = [Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for top in range(0, len(pixels), ROWS):
        for left in range(top, len(pixels), COLUMNS):
            block = pixels[top : top + ROWS] @ pixels[left : left + COLUMNS].T
            rows, columns = np.divmod(np.flatnonzero(block > threshold), block.shape[1])
            upper = left + columns > top + rows  # each pair once, and no image with itself
            rows, columns = rows[upper], columns[upper]
            found.append(Pairs(top + rows, left + columns, block[rows, columns]))
    pairs = Pairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return pairs.where(np.argsort(-pairs.similarity, kind="stable"))


def groups(pairs: Pairs, count: int) -> np.ndarray:
    """Return ``(count,)`` int: images that pairs connect, over others too, have the same number."""
    links = coo_array((np.ones(len(pairs.first), bool), (pairs.first, pairs.second)), shape=(count, count))
    return connected_components(links, directed=False)[1]
