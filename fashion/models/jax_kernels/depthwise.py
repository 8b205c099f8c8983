"""Depthwise convolution, as shifted multiply-adds or as one product with a band matrix per channel."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fashion.models.conv_geometry import Pair, axis_geometry, band_pattern
from fashion.models.jax_kernels.layout import (
    Array,
    cast,
    channel_major,
    finish,
    finish_channels_last,
    is_elementwise,
    window,
)
from fashion.models.kernels import Layer

Phases = list[list[Pair]]  # for each phase of a stride: (tap, offset)

# Up to this many input pixels a depthwise convolution is a product with a dense band matrix.
BANDED_PIXELS = 25
# Products of rows that a gradient to a kernel adds up one by one: with one for each of 112 rows it took 9 s to compile.
MAX_TERMS = 32


def _tap_sum(x: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    """Depthwise convolution as kh*kw shifted multiply-adds.

    Args:
        x: ``(c, h, w, n)`` or ``(n, h, w, c)``.
        kernel: ``(kh, kw, ...)``, each tap broadcasting to x.
        strides: Along height and width.
        padding: ``"same"`` or ``"valid"``.
    """
    kh, kw = kernel.shape[:2]
    h, w = x.shape[1:3]
    oh, top, bottom = axis_geometry(h, kh, strides[0], padding)
    ow, left, right = axis_geometry(w, kw, strides[1], padding)
    padded = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    total: Any = None
    for a in range(max(0, top - (oh - 1) * strides[0]), min(kh, h + top)):
        for b in range(max(0, left - (ow - 1) * strides[1]), min(kw, w + left)):
            term = window(padded, a, b, (oh, ow), strides) * kernel[a, b]
            total = term if total is None else total + term
    return total


def _column(kernel: Array) -> Array:
    """Kernel ``(kh, kw, c)`` as ``(kh, kw, c, 1, 1, 1)``: each tap then broadcasts to ``(c, h, w, n)``."""
    return kernel[..., None, None, None]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shifted(x: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    """Depthwise convolution of ``(c, h, w, n)`` as shifted sums.

    16x16x32 3x3 takes 0.7 ms (1.9 channels-last), with gradients 3.2 ms (26).
    """
    return _tap_sum(x, _column(kernel), strides, padding)


def _shifted_forward(x: Array, kernel: Array, strides: Pair, padding: str) -> tuple[Array, tuple[Array, Array]]:
    return _shifted(x, kernel, strides, padding), (x, kernel)


def _shifted_backward(strides: Pair, padding: str, residuals: tuple[Array, ...], dy: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    dx = _shifted_input_gradient(x.shape, dy, kernel, strides, padding)
    return dx, _shifted_kernel_gradient(x, dy, kernel, strides, padding)


def _phase_offsets(kernel: int, stride: int, before: int) -> Phases:
    """Return for each phase ``(tap, offset)`` with dx[stride * i + phase] = sum of dy[i + offset] * kernel[tap]."""
    return [
        [(tap, (phase + before - tap) // stride) for tap in range((phase + before) % stride, kernel, stride)]
        for phase in range(stride)
    ]


def _shifted_input_gradient(shape: tuple[int, ...], dy: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    """Gradient to x as shifted sums, one per phase of the strides: no multiplication with inserted zeros."""
    c, h, w, n = shape
    oh, ow = dy.shape[1:3]
    phases_h = _phase_offsets(kernel.shape[0], strides[0], axis_geometry(h, kernel.shape[0], strides[0], padding)[1])
    phases_w = _phase_offsets(kernel.shape[1], strides[1], axis_geometry(w, kernel.shape[1], strides[1], padding)[1])
    bh, bw = -(-h // len(phases_h)), -(-w // len(phases_w))
    pad_h, pad_w = _phase_padding(phases_h, bh, oh), _phase_padding(phases_w, bw, ow)
    padded = jnp.pad(dy, ((0, 0), pad_h, pad_w, (0, 0)))
    taps = _column(kernel)
    rows = []
    for phase_h in phases_h:
        columns = []
        for phase_w in phases_w:
            total = jnp.zeros((c, bh, bw, n), dy.dtype)
            for a, i in phase_h:
                for b, j in phase_w:
                    i0, j0 = pad_h[0] + i, pad_w[0] + j
                    total += padded[:, i0 : i0 + bh, j0 : j0 + bw] * taps[a, b]
            columns.append(total)
        rows.append(jnp.stack(columns, 3))
    dx = jnp.stack(rows, 2).reshape(c, bh * len(phases_h), bw * len(phases_w), n)
    return dx[:, :h, :w]


def _phase_padding(phases: Phases, length: int, output: int) -> Pair:
    offsets = [offset for phase in phases for _, offset in phase]
    return max(0, -min(offsets)), max(0, max(offsets) + length - output)


def _shifted_kernel_gradient(x: Array, dy: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    """Gradient to the kernel: products are added up row by row before anything is reduced.

    A reduction per tap takes 19 ms for 16x16x32 3x3, products of row matrices 3.6 ms, this 2.0 ms. The rows of large
    maps are added up in blocks, so that no program has more than MAX_TERMS products for a tap.
    """
    (kh, kw), (sh, sw) = kernel.shape[:2], strides
    oh, *pad_h = axis_geometry(x.shape[1], kh, sh, padding)
    ow, *pad_w = axis_geometry(x.shape[2], kw, sw, padding)
    block = -(-oh // MAX_TERMS)
    missing = -oh % block
    padded = jnp.pad(x, ((0, 0), (pad_h[0], pad_h[1] + missing * sh), pad_w, (0, 0)))
    dy = jnp.pad(dy, ((0, 0), (0, missing), (0, 0), (0, 0)))
    taps = []
    for a in range(kh):
        for b in range(kw):
            total: Any = 0.0
            for i in range(0, oh, block):
                total += window(padded, a + i * sh, b, (block, ow), strides) * dy[:, i : i + block]
            taps.append(total)
    return jnp.stack(taps).sum((2, 3, 4)).reshape(kernel.shape)


_shifted.defvjp(_shifted_forward, _shifted_backward)


def _band(kernel: Array, pattern: np.ndarray) -> Array:
    """Return the matrix of each channel, ``(c, p, q)``: a kernel ``(kh, kw, c)`` on a pattern ``(kh, kw, p, q)``."""
    taps, (p, q) = math.prod(kernel.shape[:2]), pattern.shape[2:]
    rows = kernel.reshape(taps, -1).T @ pattern.reshape(taps, p * q).astype(kernel.dtype)
    return rows.reshape(-1, p, q)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _banded(x: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    """Depthwise convolution as one product per channel with a band matrix ``(oh * ow, h * w)`` made of the kernel.

    Forward and gradients: 4x4x240 5x5 1.2 ms (34 as plain shifts), 2x2x672 5x5 0.7 (2.9). At 8x8x144 3x3 it is slower.
    """
    c, h, w, n = x.shape
    oh, ow = (axis_geometry(*axis, padding)[0] for axis in zip((h, w), kernel.shape[:2], strides, strict=True))
    band = _band(kernel, band_pattern((h, w), kernel.shape[:2], strides, padding))
    return (band @ x.reshape(c, h * w, n)).reshape(c, oh, ow, n)


def _banded_forward(x: Array, kernel: Array, strides: Pair, padding: str) -> tuple[Array, tuple[Array, Array]]:
    return _banded(x, kernel, strides, padding), (x, kernel)


def _banded_backward(strides: Pair, padding: str, residuals: tuple[Array, ...], dy: Array) -> tuple[Array, Array]:
    """The gradient to x multiplies with a band built transposed: transposing the other takes 4 times as long."""
    x, kernel = residuals
    c, h, w, n = x.shape
    pattern = band_pattern((h, w), kernel.shape[:2], strides, padding)
    pixels, dpixels = x.reshape(c, h * w, n), dy.reshape(c, -1, n)
    dx = _band(kernel, pattern.swapaxes(2, 3)) @ dpixels
    dband = jnp.einsum("cpn,cqn->cpq", dpixels, pixels)
    dkernel = jnp.einsum("abpq,cpq->abc", pattern.astype(dband.dtype), dband)
    return dx.reshape(x.shape), dkernel


_banded.defvjp(_banded_forward, _banded_backward)


def _is_supported(layer: Layer) -> bool:
    return bool(
        layer.dilation_rate == (1, 1)
        and layer.data_format == "channels_last"
        and layer.depth_multiplier == 1
        and is_elementwise(layer)
    )


def depthwise(layer: Layer, x: Any, training: bool | None) -> Any:
    """Depthwise convolution, in the form that is faster for the size of the map."""
    if not _is_supported(layer):
        return None
    x = cast(layer, channel_major(x))
    kernel = cast(layer, layer.kernel.value)[..., 0]
    form = _banded if x.shape[1] * x.shape[2] <= BANDED_PIXELS else _shifted
    return finish(layer, form(x, kernel, layer.strides, layer.padding))


def depthwise_small_batch(layer: Layer, x: Any, training: bool | None) -> Any:
    """Depthwise convolution of channels-last images."""
    if not _is_supported(layer):
        return None
    kernel = cast(layer, layer.kernel.value)[..., 0]
    return finish_channels_last(layer, _tap_sum(cast(layer, x), kernel, layer.strides, layer.padding))
