"""The images that an audit compares: of all splits, in one order, read when they are looked at."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from fashion.arrays import Images, Labels, Positions
from fashion.data.dataset import Split

BLOCK = 1_000  # images in memory at once
SIDE = 28  # pixels, to which images are reduced for comparing them; smaller ones are compared as they are


class AuditedImages:
    """The images of several splits behind one another.

    Args:
        splits: Their images stay where they are, in memory or in a file.

    Attributes:
        labels: ``(n,)`` int64.
        names: ``(n,)`` The path of each image, or its split and its position in the official file.
    """

    def __init__(self, splits: Sequence[tuple[str, Split]]) -> None:
        orders = [np.arange(len(split)) for _, split in splits]
        self._images = [split.images for _, split in splits]
        self._split = np.repeat(np.arange(len(splits)), [len(order) for order in orders])
        self._row = np.concatenate(orders)
        self.labels: Labels = np.concatenate([split.labels for _, split in splits])
        self.sources = np.concatenate([split.sources for _, split in splits])
        self.names = [
            source if isinstance(source, str) else f"{name} {source}"
            for name, split in splits
            for source in split.sources.tolist()
        ]

    def __len__(self) -> int:
        return len(self.labels)

    def reordered(self, order: Positions) -> "AuditedImages":
        """Return the same images in another order, or some of them."""
        other = AuditedImages.__new__(AuditedImages)
        other._images, other._split, other._row = self._images, self._split[order], self._row[order]
        other.labels, other.sources = self.labels[order], self.sources[order]
        other.names = [self.names[place] for place in order.tolist()]
        return other

    def __getitem__(self, places: Positions | slice) -> Images:
        """Read images: ``(m, h, w, c)``."""
        splits, rows = self._split[places], self._row[places]
        read = np.empty((len(rows), *self._images[0].shape[1:]), np.uint8)
        for number, images in enumerate(self._images):
            read[splits == number] = images[rows[splits == number]]
        return read

    def thumbnails(self, *, grey: bool) -> Images:
        """Return the images at 28 x 28 pixels or as they are if they are smaller, in grey or as they are."""
        starts = range(0, len(self), BLOCK)
        return np.concatenate([thumbnails(self[start : start + BLOCK], grey=grey) for start in starts])


def thumbnails(images: Images, *, grey: bool) -> UInt8[np.ndarray, "n y x k"]:
    """Return reduced images; those of 28 x 28 grey pixels unchanged.

    Args:
        images: ``(n, h, w, c)`` uint8.
        grey: Whether colours are replaced by their luminance.
    """
    height, width, channels = images.shape[1:]
    size = (min(width, SIDE), min(height, SIDE))
    reduced = [
        cv2.resize(_grey(image) if grey and channels == 3 else image, size, interpolation=cv2.INTER_AREA)
        for image in images
    ]
    return np.stack(reduced).reshape(len(reduced), size[1], size[0], 1 if grey else channels)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
