"""Exact and near duplicates."""

import hashlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fashion.arrays import GrayImages
from fashion.audit.audited_images import BLOCK, AuditedImages

# Chosen by eye, on Fashion-MNIST. Of 144 pairs of other classes than trousers, those above 0.99 show the same product,
# often in another colour or with another print; from 0.985 to 0.99 about half do, below that few: the rest have the
# same cut. Of 144 pairs of trousers, those above 0.995 are the same; from 0.99 to 0.995 it is undecidable, since at
# 28 x 28 pixels all straight trousers look alike.
NEAR = 0.99
SENSITIVITY = (0.999, NEAR, 0.98, 0.97)  # thresholds at which counts and accuracies are reported

ROWS, COLUMNS = 2048, 8192  # of one block of the correlation matrix: 64 MiB, and products large enough for full speed


class SimilarPairs(NamedTuple):
    """Pairs of images, by position.

    Attributes:
        first: The one that comes first.
        second: The other.
        similarity: Correlation of their pixels, at most 1.
    """

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    similarity: Float32[np.ndarray, " pairs"]

    def above(self, threshold: float) -> "SimilarPairs":
        """Return the pairs whose similarity is greater than a threshold."""
        return self.where(self.similarity > threshold)

    def where(self, chosen: Bool[np.ndarray, " pairs"] | Int[np.ndarray, " chosen"]) -> "SimilarPairs":
        """Return the pairs that a mask or an index array selects."""
        return SimilarPairs(self.first[chosen], self.second[chosen], self.similarity[chosen])


def exact_duplicates(images: AuditedImages | GrayImages) -> list[list[int]]:
    """Return the groups of two or more positions whose images are identical, by SHA-256."""
    positions: dict[bytes, list[int]] = {}
    for start in range(0, len(images), BLOCK):
        for position, image in enumerate(images[start : start + BLOCK], start):
            positions.setdefault(hashlib.sha256(image.tobytes()).digest(), []).append(position)
    return [group for group in positions.values() if len(group) > 1]


def similar_pairs(images: GrayImages, threshold: float) -> SimilarPairs:
    """Find all pairs of highly correlated images, by blocked matrix products.

    Correlation ignores brightness and contrast. Geier (2019, arXiv 1906.08255) found Fashion-MNIST's near duplicates
    between train and test; here the pairs within a split are compared too.

    Args:
        images: Any number of them.
        threshold: The correlation above which a pair is returned.

    Returns:
        The pairs, the most similar first. Uniform images, which correlate with nothing, are in none.
    """
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    pixels /= np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    found = [SimilarPairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for top in range(0, len(pixels), ROWS):
        for left in range(top, len(pixels), COLUMNS):
            block = pixels[top : top + ROWS] @ pixels[left : left + COLUMNS].T
            rows, columns = np.divmod(np.flatnonzero(block > threshold), block.shape[1])
            upper = left + columns > top + rows  # each pair once, and no image with itself
            rows, columns = rows[upper], columns[upper]
            found.append(SimilarPairs(top + rows, left + columns, block[rows, columns]))
    pairs = SimilarPairs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return pairs.where(np.argsort(-pairs.similarity, kind="stable"))


def groups(pairs: SimilarPairs, count: int) -> Int[np.ndarray, " count"]:
    """Return a number for each image: images that pairs connect, directly or through others, have the same number."""
    links = coo_array((np.ones(len(pairs.first), bool), (pairs.first, pairs.second)), shape=(count, count))
    return connected_components(links, directed=False)[1]
