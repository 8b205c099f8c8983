"""Which input pixels the taps of a convolution read, for the kernels of both backends."""

import numpy as np
from jaxtyping import Bool, Float32

Pair = tuple[int, int]


def axis_geometry(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int, int]:
    """Return output length, padding before and padding after along one axis, by TensorFlow's rules.

    Args:
        size: Pixels along the axis.
        kernel: Taps along the axis.
        stride: Pixels from one output to the next.
        padding: ``"same"`` or ``"valid"``.
    """
    if padding == "valid":
        return (size - kernel) // stride + 1, 0, 0
    output = -(-size // stride)
    total = max((output - 1) * stride + kernel - size, 0)
    return output, total // 2, total - total // 2


def band_pattern(size: Pair, kernel: Pair, strides: Pair, padding: str) -> Float32[np.ndarray, "kh kw outputs inputs"]:
    """Return which tap connects which input pixel to which output pixel: ``(kh, kw, oh * ow, h * w)`` float32, 0 or 1.

    A depthwise convolution is, for each channel, a product with the sum of these matrices, each weighted by its tap.
    """
    rows, columns = (_taps(*axis, padding) for axis in zip(size, kernel, strides, strict=True))
    pattern: np.ndarray = np.einsum("pha,qwb->abpqhw", rows, columns)
    (oh, h, _), (ow, w, _) = rows.shape, columns.shape
    return pattern.reshape(*kernel, oh * ow, h * w).astype(np.float32)


def _taps(size: int, kernel: int, stride: int, padding: str) -> Bool[np.ndarray, "output size kernel"]:
    """Return whether a tap of an output reads a pixel: ``(output, size, kernel)`` bool."""
    output, before, _ = axis_geometry(size, kernel, stride, padding)
    tap = np.arange(size)[None, :] - np.arange(output)[:, None] * stride + before
    reads: np.ndarray = tap[..., None] == np.arange(kernel)
    return reads
