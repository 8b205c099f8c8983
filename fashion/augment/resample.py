"""Bilinear resampling of a batch, each image at coordinates of its own."""

import keras
from keras import ops


def pixel_grid(images: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the row and the column of every pixel, in pixels from the centre of the image.

    Args:
        images: ``(n, h, w, c)``.

    Returns:
        Rows and columns, each ``(h, w)`` float32.
    """
    _, height, width, _ = images.shape
    rows, columns = ops.meshgrid(
        ops.arange(height, dtype="float32") - (height - 1) / 2,
        ops.arange(width, dtype="float32") - (width - 1) / 2,
        indexing="ij",
    )
    return rows, columns


def resample(images: keras.KerasTensor, rows: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    """Read every image at fractional coordinates; beyond its edges it is 0, the background.

    Args:
        images: ``(n, h, w, c)`` float32.
        rows: ``(n, h, w)`` vertical coordinates in pixels, 0 being the centre of the first row.
        columns: ``(n, h, w)`` horizontal coordinates in pixels.

    Returns:
        ``(n, h, w, c)`` float32.
    """
    _, height, width, channels = images.shape
    # Two pixels of background on each side, and coordinates clipped to them: all four neighbours of every coordinate
    # exist, without masks.
    stride = width + 4
    padded = ops.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    rows = ops.clip(rows, -1.5, height + 0.5) + 2
    columns = ops.clip(columns, -1.5, width + 0.5) + 2
    top, left = ops.floor(rows), ops.floor(columns)
    down = ops.reshape(rows - top, (-1, height * width))
    right = ops.reshape(columns - left, (-1, height * width))
    corner = ops.reshape(ops.cast(top * stride + left, "int32"), (-1, height * width))
    if channels == 1:
        padded = ops.reshape(padded, (-1, (height + 4) * stride))
    else:  # one list of pixels for the batch: gathering from one for each image took TensorFlow four times as long
        padded = ops.reshape(padded, (-1, channels))
        corner += ops.arange(ops.shape(images)[0], dtype="int32")[:, None] * ((height + 4) * stride)
        down, right = down[..., None], right[..., None]

    def neighbour(offset: int) -> keras.KerasTensor:
        if channels == 1:
            return ops.take_along_axis(padded, corner + offset, axis=1)
        return ops.take(padded, corner + offset, axis=0)

    upper = neighbour(0) * (1 - right) + neighbour(1) * right
    lower = neighbour(stride) * (1 - right) + neighbour(stride + 1) * right
    return ops.reshape(upper * (1 - down) + lower * down, (-1, height, width, channels))


def resample_inside(
    images: keras.KerasTensor, rows: keras.KerasTensor, columns: keras.KerasTensor
) -> keras.KerasTensor:
    """Do the same with coordinates relative to the centre; beyond the edges the outermost pixels are repeated."""
    _, height, width, _ = images.shape
    rows = ops.clip(rows + (height - 1) / 2, 0, height - 1)
    return resample(images, rows, ops.clip(columns + (width - 1) / 2, 0, width - 1))
