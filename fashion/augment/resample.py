"""Bilinear resampling of a batch, each image at coordinates of its own."""

import keras
from keras import ops


def resample(images: keras.KerasTensor, rows: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    """Read every image at fractional coordinates; beyond its edges it is 0, the background.

    Args:
        images: ``(n, h, w, 1)`` float32.
        rows: ``(n, h, w)`` vertical coordinates in pixels, 0 being the centre of the first row.
        columns: ``(n, h, w)`` horizontal coordinates in pixels.

    Returns:
        ``(n, h, w, 1)`` float32.
    """
    _, height, width, _ = images.shape
    # Two pixels of background on each side, and coordinates clipped to them: all four neighbours of every coordinate
    # exist, without masks.
    stride = width + 4
    padded = ops.reshape(ops.pad(images[..., 0], ((0, 0), (2, 2), (2, 2))), (-1, (height + 4) * stride))
    rows = ops.clip(rows, -1.5, height + 0.5) + 2
    columns = ops.clip(columns, -1.5, width + 0.5) + 2
    top, left = ops.floor(rows), ops.floor(columns)
    down = ops.reshape(rows - top, (-1, height * width))
    right = ops.reshape(columns - left, (-1, height * width))
    corner = ops.reshape(ops.cast(top * stride + left, "int32"), (-1, height * width))

    def neighbour(offset: int) -> keras.KerasTensor:
        return ops.take_along_axis(padded, corner + offset, axis=1)

    upper = neighbour(0) * (1 - right) + neighbour(1) * right
    lower = neighbour(stride) * (1 - right) + neighbour(stride + 1) * right
    return ops.reshape(upper * (1 - down) + lower * down, (-1, height, width, 1))
