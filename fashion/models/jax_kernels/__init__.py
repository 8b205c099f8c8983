"""Fast JAX-on-CPU execution of stock Keras image models: same layers, same numbers, another memory layout.

XLA's CPU backend has no efficient depthwise convolution and vectorises only over the last axis. Between the layers of a
fast model, images are therefore channel-major, ``(c, h, w, n)``: the batch is the contiguous axis. Then a shift of
the image is a shift of whole blocks, a 1x1 convolution is one matrix product, a batch-norm statistic is a sum over
one contiguous row, and a depthwise convolution of a small map is one batched product; none needs a transpose.

A layer without a kernel here runs as Keras wrote it, between two transposes. Figures in the comments were measured on
2 cores of an AMD EPYC (Zen 4) at batch 128 with JAX 0.10.2.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import keras
from keras import layers

from fashion.models.jax_kernels.batch_norm import batch_norm
from fashion.models.jax_kernels.depthwise import depthwise, depthwise_small_batch
from fashion.models.jax_kernels.layout import Array, ChannelMajor, cast, channel_major, is_elementwise, stock_layout
from fashion.models.jax_kernels.pointwise import convolution, convolution_small_batch
from fashion.models.kernels import KernelTable, Layer

__all__ = ["stock_layout", "table", "worthwhile"]

# For smaller batches the contiguous axis would be too short to vectorise; images then stay channels-last.
MIN_BATCH = 16


def table(batch_size: int) -> KernelTable:
    """Return the kernel of each kind of layer that has one, for batches of this size."""
    return _KERNELS if batch_size >= MIN_BATCH else _SMALL_BATCH_KERNELS


def worthwhile(layers_of_model: Iterable[Layer]) -> bool:
    """Return whether a model is faster with the kernels: one with depthwise convolutions.

    Without any, transposes around the stock convolutions cost more than the rest gains: a ResNet trains at 310 images/s
    instead of 360, a CNN at 1,540 instead of 1,740.
    """
    return any(isinstance(layer, layers.DepthwiseConv2D) for layer in layers_of_model)


@jax.custom_vjp
def _silu(x: Array) -> Array:
    """Return ``x * sigmoid(x)``, written to end in a division for the reason given in ``batch_norm``."""
    return x / (1 + jnp.exp(-x))


def _silu_forward(x: Array) -> tuple[Array, Array]:
    return _silu(x), x


def _silu_backward(x: Array, dy: Array) -> tuple[Array]:
    denominator = 1 + jnp.exp(-x)
    return (dy * (1 + x * (1 - 1 / denominator)) / denominator,)


_silu.defvjp(_silu_forward, _silu_backward)


def _activation(layer: Layer, x: Any, training: bool | None) -> Any:
    if not is_elementwise(layer) or not isinstance(x, ChannelMajor):
        return None
    x = cast(layer, x.array)
    return ChannelMajor(_silu(x) if layer.activation is keras.activations.silu else layer.activation(x))


def _merge(layer: Layer, xs: list[Any], training: bool | None) -> Any:
    if not all(isinstance(x, ChannelMajor) for x in xs):
        return None
    return ChannelMajor(layer.call([cast(layer, x.array) for x in xs]))


def _dropout(layer: Layer, x: Any, training: bool | None) -> Any:
    if not isinstance(x, ChannelMajor) or not training or not layer.rate:
        return x
    if layer.noise_shape is None or tuple(layer.noise_shape[1:]) != (1, 1, 1):
        return None
    factor = layer.call(jnp.ones((x.array.shape[3], 1, 1, 1), layer.compute_dtype), training=True)
    return ChannelMajor(cast(layer, x.array) * factor.reshape(-1))


def _zero_padding(layer: Layer, x: Any, training: bool | None) -> Any:
    if layer.data_format != "channels_last":
        return None
    return ChannelMajor(jnp.pad(cast(layer, channel_major(x)), ((0, 0), *layer.padding, (0, 0))))


def _average_pool(layer: Layer, x: Any, training: bool | None) -> Any:
    if not isinstance(x, ChannelMajor) or layer.data_format != "channels_last":
        return None
    mean = jnp.mean(cast(layer, x.array), (1, 2))
    return ChannelMajor(mean[:, None, None]) if layer.keepdims else mean.T


_KERNELS: KernelTable = {
    layers.DepthwiseConv2D: depthwise,
    layers.Conv2D: convolution,
    layers.BatchNormalization: batch_norm,
    layers.Activation: _activation,
    layers.Add: _merge,
    layers.Multiply: _merge,
    layers.Dropout: _dropout,
    layers.ZeroPadding2D: _zero_padding,
    layers.GlobalAveragePooling2D: _average_pool,
}
_SMALL_BATCH_KERNELS: KernelTable = {
    layers.DepthwiseConv2D: depthwise_small_batch,
    layers.Conv2D: convolution_small_batch,
}
