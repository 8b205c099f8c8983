"""Fast JAX-on-CPU execution of stock Keras image models: same layers, same numbers, another memory layout.

XLA's CPU backend has no good depthwise convolution and vectorises only over the last axis. Between the layers of a
fast model, images therefore travel channel-major, `(c, h, w, n)`: the batch is the contiguous axis. Then a shift of
the image is a shift of whole blocks, a 1x1 convolution is one matrix product, a batch-norm statistic is a sum over
one contiguous row, and a small depthwise map is one batched product; none needs a transpose.

Every layer kind without a kernel here runs as Keras wrote it, between two transposes. Figures in the comments were
measured on 2 cores of an AMD EPYC (Zen 4) at batch 128 with JAX 0.10.2.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax
from keras import layers

from fashion.models.conv_geometry import Pair, axis_geometry, band_pattern

Array = Any  # jax.Array; mypy takes minutes to read the annotations of JAX, so it does not
Layer = Any  # Keras has no types to check against
Phases = list[list[Pair]]  # for each phase of a stride: (tap, offset)

# Below this batch size the contiguous axis would be too short to vectorise; images then stay channels-last.
MINIMUM_BATCH = 16

# Up to this many pixels in and out, a depthwise convolution is a product with a dense band matrix.
BANDED_PIXELS = 25

ELEMENTWISE = {None, "linear", "relu", "sigmoid", "silu", "tanh"}


@dataclass(frozen=True)
class _ChannelMajor:
    """An image batch as `(c, h, w, n)`, told by its type from one that is `(n, h, w, c)`."""

    array: jax.Array


def _channel_major(value: Any) -> Array:
    return value.array if isinstance(value, _ChannelMajor) else jnp.transpose(value, (3, 1, 2, 0))


def stock_layout(value: Any) -> Any:
    """Return an image batch as Keras's layers take it; leave every other value as it is."""
    return jnp.transpose(value.array, (3, 1, 2, 0)) if isinstance(value, _ChannelMajor) else value


def table(batch_size: int) -> dict[type, Callable]:
    """Return the kernel of each kind of layer; a kernel returns None for what it is not made for."""
    return _KERNELS if batch_size >= MINIMUM_BATCH else _SMALL_BATCH_KERNELS


def worthwhile(layers_of_model: Iterable[Layer]) -> bool:
    """Return whether a model gains: one with depthwise convolutions.

    Without any, transposes around the stock convolutions cost more than the rest gains: a ResNet trains at 310 images/s
    instead of 360, a CNN at 1,540 instead of 1,740.
    """
    return any(isinstance(layer, layers.DepthwiseConv2D) for layer in layers_of_model)


# --- depthwise convolution ---


def _window(padded: Array, a: int, b: int, out: Pair, strides: Pair) -> Array:
    (oh, ow), (sh, sw) = out, strides
    return padded[:, a : a + (oh - 1) * sh + 1 : sh, b : b + (ow - 1) * sw + 1 : sw]


def _tap_sum(x: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    """Depthwise convolution as k*k shifted multiply-adds; x `(c, h, w, n)` or `(n, h, w, c)`.

    kernel: `(kh, kw, ...)`, each tap broadcasting to x.
    """
    kh, kw = kernel.shape[:2]
    h, w = x.shape[1:3]
    oh, top, bottom = axis_geometry(h, kh, strides[0], padding)
    ow, left, right = axis_geometry(w, kw, strides[1], padding)
    padded = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    total: Any = None
    for a in range(max(0, top - (oh - 1) * strides[0]), min(kh, h + top)):
        for b in range(max(0, left - (ow - 1) * strides[1]), min(kw, w + left)):
            term = _window(padded, a, b, (oh, ow), strides) * kernel[a, b]
            total = term if total is None else total + term
    return total


def _column(kernel: Array) -> Array:
    """Kernel `(kh, kw, c)` as `(kh, kw, c, 1, 1, 1)`: each tap then broadcasts to `(c, h, w, n)`."""
    return kernel[..., None, None, None]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shifted(x: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    """Depthwise convolution of `(c, h, w, n)`: 0.7 ms for 16x16x32 3x3 (1.9 channels-last), 3.2 with gradients (26)."""
    return _tap_sum(x, _column(kernel), strides, padding)


def _shifted_forward(x: Array, kernel: Array, strides: Pair, padding: str) -> tuple[Array, tuple[Array, Array]]:
    return _shifted(x, kernel, strides, padding), (x, kernel)


def _shifted_backward(strides: Pair, padding: str, residuals: tuple[Array, ...], dy: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    dx = _shifted_input_gradient(x.shape, dy, kernel, strides, padding)
    return dx, _shifted_kernel_gradient(x, dy, kernel, strides, padding)


def _phase_offsets(kernel: int, stride: int, before: int) -> Phases:
    """Per phase of the stride: `(tap, offset)` with dx[stride * i + phase] = sum dy[i + offset] * kernel[tap]."""
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

    A reduction per tap takes 19 ms for 16x16x32 3x3, products of row matrices 3.6 ms, this 2.0 ms.
    """
    (kh, kw), (sh, sw) = kernel.shape[:2], strides
    oh, *pad_h = axis_geometry(x.shape[1], kh, sh, padding)
    ow, *pad_w = axis_geometry(x.shape[2], kw, sw, padding)
    padded = jnp.pad(x, ((0, 0), pad_h, pad_w, (0, 0)))
    taps = []
    for a in range(kh):
        for b in range(kw):
            total: Any = 0.0
            for i in range(oh):
                total += padded[:, a + i * sh, b : b + (ow - 1) * sw + 1 : sw] * dy[:, i]
            taps.append(total)
    return jnp.stack(taps).sum((2, 3)).reshape(kernel.shape)


_shifted.defvjp(_shifted_forward, _shifted_backward)


def _band(kernel: Array, pattern: np.ndarray) -> Array:
    """The matrix of each channel, `(c, p, q)`, of a kernel `(kh, kw, c)` and a pattern `(kh, kw, p, q)`."""
    taps, (p, q) = math.prod(kernel.shape[:2]), pattern.shape[2:]
    rows = kernel.reshape(taps, -1).T @ pattern.reshape(taps, p * q).astype(kernel.dtype)
    return rows.reshape(-1, p, q)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _banded(x: Array, kernel: Array, strides: Pair, padding: str) -> Array:
    """Depthwise convolution as one product per channel with a band matrix `(oh * ow, h * w)` made of the kernel.

    Forward and gradients: 4x4x240 5x5 1.2 ms (34 as plain shifts), 2x2x672 5x5 0.7 (2.9). At 8x8x144 3x3 it loses.
    """
    c, h, w, n = x.shape
    oh, ow = (axis_geometry(*axis, padding)[0] for axis in zip((h, w), kernel.shape[:2], strides, strict=True))
    band = _band(kernel, band_pattern((h, w), kernel.shape[:2], strides, padding))
    return (band @ x.reshape(c, h * w, n)).reshape(c, oh, ow, n)


def _banded_forward(x: Array, kernel: Array, strides: Pair, padding: str) -> tuple[Array, tuple[Array, Array]]:
    return _banded(x, kernel, strides, padding), (x, kernel)


def _banded_backward(strides: Pair, padding: str, residuals: tuple[Array, ...], dy: Array) -> tuple[Array, Array]:
    """The gradient to x multiplies with a band made transposed: to transpose the other takes 4 times as long."""
    x, kernel = residuals
    c, h, w, n = x.shape
    pattern = band_pattern((h, w), kernel.shape[:2], strides, padding)
    pixels, dpixels = x.reshape(c, h * w, n), dy.reshape(c, -1, n)
    dx = _band(kernel, pattern.swapaxes(2, 3)) @ dpixels
    dband = jnp.einsum("cpn,cqn->cpq", dpixels, pixels)
    dkernel = jnp.einsum("abpq,cpq->abc", pattern.astype(dband.dtype), dband)
    return dx.reshape(x.shape), dkernel


_banded.defvjp(_banded_forward, _banded_backward)


def _cast(layer: Layer, x: Array) -> Array:
    return x.astype(layer.compute_dtype)


def _finish(layer: Layer, y: Array) -> _ChannelMajor:
    """Bias and activation of a convolution, y `(c, h, w, n)`."""
    if layer.use_bias:
        y = y + _cast(layer, layer.bias.value)[:, None, None, None]
    return _ChannelMajor(y if layer.activation is None else layer.activation(y))


def _finish_channels_last(layer: Layer, y: Array) -> Array:
    """The same for y `(n, h, w, c)`."""
    if layer.use_bias:
        y = y + _cast(layer, layer.bias.value)
    return y if layer.activation is None else layer.activation(y)


def _elementwise(layer: Layer) -> bool:
    return layer.activation is None or layer.activation.__name__ in ELEMENTWISE


def _plain_depthwise(layer: Layer) -> bool:
    return (
        layer.dilation_rate == (1, 1)
        and layer.data_format == "channels_last"
        and layer.depth_multiplier == 1
        and _elementwise(layer)
    )


def _depthwise(layer: Layer, x: Any, training: bool | None) -> Any:
    if not _plain_depthwise(layer):
        return None
    x = _cast(layer, _channel_major(x))
    kernel = _cast(layer, layer.kernel.value)[..., 0]
    form = _banded if x.shape[1] * x.shape[2] <= BANDED_PIXELS else _shifted
    return _finish(layer, form(x, kernel, layer.strides, layer.padding))


def _depthwise_small_batch(layer: Layer, x: Any, training: bool | None) -> Any:
    if not _plain_depthwise(layer):
        return None
    kernel = _cast(layer, layer.kernel.value)[..., 0]
    return _finish_channels_last(layer, _tap_sum(_cast(layer, x), kernel, layer.strides, layer.padding))


def _convolution(layer: Layer, x: Any, training: bool | None) -> Any:
    """1x1 convolutions, and others of few input values per output (the stem), as one product with their patches."""
    if layer.dilation_rate != (1, 1) or layer.groups != 1 or layer.data_format != "channels_last":
        return None
    if not _elementwise(layer) or layer.lora_enabled:
        return None
    kh, kw, c, filters = layer.kernel.shape
    if kh * kw * c > 64 and (layer.kernel_size != (1, 1) or layer.strides != (1, 1)):
        return None
    x = _cast(layer, _channel_major(x))
    kernel = _cast(layer, layer.kernel.value).reshape(kh * kw * c, filters)
    oh, *pad_h = axis_geometry(x.shape[1], kh, layer.strides[0], layer.padding)
    ow, *pad_w = axis_geometry(x.shape[2], kw, layer.strides[1], layer.padding)
    if layer.kernel_size == (1, 1) and layer.strides == (1, 1):
        patches = x
    else:
        padded = jnp.pad(x, ((0, 0), pad_h, pad_w, (0, 0)))
        windows = [_window(padded, a, b, (oh, ow), layer.strides) for a in range(kh) for b in range(kw)]
        patches = jnp.concatenate(windows)
    n = x.shape[3]
    return _finish(layer, (kernel.T @ patches.reshape(kh * kw * c, oh * ow * n)).reshape(filters, oh, ow, n))


def _convolution_small_batch(layer: Layer, x: Any, training: bool | None) -> Any:
    if layer.kernel_size != (1, 1) or layer.strides != (1, 1) or layer.groups != 1 or layer.lora_enabled:
        return None
    if layer.data_format != "channels_last":
        return None
    n, h, w, c = x.shape
    kernel = _cast(layer, layer.kernel.value).reshape(c, layer.filters)
    return _finish_channels_last(layer, (_cast(layer, x).reshape(-1, c) @ kernel).reshape(n, h, w, layer.filters))


# --- batch normalisation ---


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Batch normalisation of rows; returns outputs, mean and variance.

    Mean and mean square are two sums over contiguous rows (0.27 ms for 96 x 32,768; centring first adds a pass).

    Args:
        x: `(c, p)` float32, one row per channel.
        gamma: `(c,)` scale.
        beta: `(c,)` offset.
        epsilon: Added to the variance.
    """
    return _normalise_forward(x, gamma, beta, epsilon)[0]


def _normalise_forward(
    x: Array, gamma: Array, beta: Array, epsilon: float
) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    mean = jnp.mean(x, 1)
    variance = jnp.maximum(jnp.mean(jnp.square(x), 1) - jnp.square(mean), 0.0)
    inverse = lax.rsqrt(variance + epsilon)
    scale = inverse * gamma
    y = x * scale[:, None] + (beta - mean * scale)[:, None]
    return (y, mean, variance), (x, mean, variance, gamma)


# A gradient that ends in a division is computed once: XLA copies cheap producers into every consumer, and ignores
# optimisation barriers here, but takes a division for costly: the operations of a step fell from 182 to 144 ms.
def _normalise_backward(
    epsilon: float, residuals: tuple[Array, ...], cotangents: tuple[Array, ...]
) -> tuple[Array, Array, Array]:
    x, mean, variance, gamma = residuals
    dy = cotangents[0]
    deviation = jnp.sqrt(variance + epsilon)
    dbeta = jnp.sum(dy, 1)
    dgamma = (jnp.sum(dy * x, 1) - mean * dbeta) / deviation
    slope = -gamma * dgamma / (deviation * x.shape[1])
    offset = -gamma * dbeta / x.shape[1] - slope * mean
    dx = (dy * gamma[:, None] + x * slope[:, None] + offset[:, None]) / deviation[:, None]
    return dx, dgamma, dbeta


_normalise.defvjp(_normalise_forward, _normalise_backward)


def _batch_norm(layer: Layer, x: Any, training: bool | None) -> Any:
    if layer.axis not in (-1, 3) or layer.renorm or not (layer.scale and layer.center):
        return None
    x = _channel_major(x)
    c, h, w, n = x.shape
    rows = x.reshape(c, h * w * n).astype("float32")
    gamma, beta = layer.gamma.value, layer.beta.value
    if training and layer.trainable:
        y, mean, variance = _normalise(rows, gamma, beta, layer.epsilon)
        keep = layer.momentum
        layer.moving_mean.assign(layer.moving_mean.value * keep + mean * (1.0 - keep))
        layer.moving_variance.assign(layer.moving_variance.value * keep + variance * (1.0 - keep))
    else:
        scale = lax.rsqrt(layer.moving_variance.value + layer.epsilon) * gamma
        y = rows * scale[:, None] + (beta - layer.moving_mean.value * scale)[:, None]
    return _ChannelMajor(_cast(layer, y.reshape(c, h, w, n)))


@jax.custom_vjp
def _silu(x: Array) -> Array:
    """X * sigmoid(x), written to end in a division for the same reason."""
    return x / (1 + jnp.exp(-x))


def _silu_forward(x: Array) -> tuple[Array, Array]:
    return _silu(x), x


def _silu_backward(x: Array, dy: Array) -> tuple[Array]:
    denominator = 1 + jnp.exp(-x)
    return (dy * (1 + x * (1 - 1 / denominator)) / denominator,)


_silu.defvjp(_silu_forward, _silu_backward)


def _activation(layer: Layer, x: Any, training: bool | None) -> Any:
    if not _elementwise(layer) or not isinstance(x, _ChannelMajor):
        return None
    x = _cast(layer, x.array)
    return _ChannelMajor(_silu(x) if layer.activation is keras.activations.silu else layer.activation(x))


def _merge(layer: Layer, xs: list[Any], training: bool | None) -> Any:
    if not all(isinstance(x, _ChannelMajor) for x in xs):
        return None
    return _ChannelMajor(layer.call([_cast(layer, x.array) for x in xs]))


def _dropout(layer: Layer, x: Any, training: bool | None) -> Any:
    if not isinstance(x, _ChannelMajor) or not training or not layer.rate:
        return x
    if layer.noise_shape is None or tuple(layer.noise_shape[1:]) != (1, 1, 1):
        return None
    factor = layer.call(jnp.ones((x.array.shape[3], 1, 1, 1), layer.compute_dtype), training=True)
    return _ChannelMajor(_cast(layer, x.array) * factor.reshape(-1))


def _zero_padding(layer: Layer, x: Any, training: bool | None) -> Any:
    if layer.data_format != "channels_last":
        return None
    return _ChannelMajor(jnp.pad(_cast(layer, _channel_major(x)), ((0, 0), *layer.padding, (0, 0))))


def _average_pool(layer: Layer, x: Any, training: bool | None) -> Any:
    if not isinstance(x, _ChannelMajor) or layer.data_format != "channels_last":
        return None
    mean = jnp.mean(_cast(layer, x.array), (1, 2))
    return _ChannelMajor(mean[:, None, None]) if layer.keepdims else mean.T


_KERNELS: dict[type, Callable] = {
    layers.DepthwiseConv2D: _depthwise,
    layers.Conv2D: _convolution,
    layers.BatchNormalization: _batch_norm,
    layers.Activation: _activation,
    layers.Add: _merge,
    layers.Multiply: _merge,
    layers.Dropout: _dropout,
    layers.ZeroPadding2D: _zero_padding,
    layers.GlobalAveragePooling2D: _average_pool,
}
_SMALL_BATCH_KERNELS: dict[type, Callable] = {
    layers.DepthwiseConv2D: _depthwise_small_batch,
    layers.Conv2D: _convolution_small_batch,
}
