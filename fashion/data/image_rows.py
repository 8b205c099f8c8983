"""Rows of a memory-mapped file of images, read when they are indexed."""

import operator
from types import EllipsisType
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from fashion.arrays import Images


class ImageRows:
    """Some rows of a file of images, in an order of their own: an array that is never in memory as a whole.

    Args:
        pixels: ``(n, h, w, c)`` uint8, 0-255, usually a ``numpy.memmap``.
        rows: ``(m,)`` int64, the row of each image.

    Attributes:
        shape: ``(m, h, w, c)``.
        dtype: uint8.
        ndim: 4.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, pixels: Images, rows: Int64[np.ndarray, " m"]) -> None:
        self.pixels, self.rows = pixels, rows
        self.shape = (len(rows), *pixels.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read images: one for a whole number, several for a slice, an integer array or a boolean array."""
        if isinstance(index, tuple | EllipsisType) or index is None:
            raise IndexError("expected one index, of the images; read them first, as in images[first:last][..., 0]")
        if isinstance(index, slice | np.ndarray | list):
            return np.asarray(self.pixels[self.rows[index]])
        return np.array(self.pixels[self.rows[operator.index(index)]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all images into memory, for callers that need them there."""
        if copy is False:
            raise ValueError("the images are in a file: an array of them is a copy")
        return self[:].astype(dtype or np.uint8, copy=False)


# The images of a split: in memory, or in a file.
ImageArray = UInt8[np.ndarray, "n h w c"] | UInt8[ImageRows, "n h w c"]
