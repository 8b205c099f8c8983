"""The memory layout between the kernels, and the parts of a layer that several kernels share."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fashion.models.conv_geometry import Pair
from fashion.models.kernels import Layer

Array = Any  # jax.Array; mypy takes minutes to read the annotations of JAX, so it does not

# Activations that act on each value alone, so that the layout makes no difference to them.
ELEMENTWISE = {None, "linear", "relu", "relu6", "sigmoid", "silu", "tanh"}


@dataclass(frozen=True)
class ChannelMajor:
    """An image batch ``(c, h, w, n)``; its type tells it from a channels-last one, ``(n, h, w, c)``."""

    array: jax.Array


def channel_major(value: Any) -> Array:
    """Return the array ``(c, h, w, n)`` of an image batch in either layout."""
    return value.array if isinstance(value, ChannelMajor) else jnp.transpose(value, (3, 1, 2, 0))


def stock_layout(value: Any) -> Any:
    """Return an image batch as Keras's layers read it, ``(n, h, w, c)``, and any other value as it is."""
    return jnp.transpose(value.array, (3, 1, 2, 0)) if isinstance(value, ChannelMajor) else value


def window(padded: Array, a: int, b: int, output: Pair, strides: Pair) -> Array:
    """Return the pixels that tap ``(a, b)`` of a convolution reads, one for each output pixel.

    Args:
        padded: ``(c, h, w, n)`` or ``(n, h, w, c)``.
        a: Row of the tap.
        b: Column of the tap.
        output: Height and width of the output.
        strides: Along height and width.
    """
    (oh, ow), (sh, sw) = output, strides
    return padded[:, a : a + (oh - 1) * sh + 1 : sh, b : b + (ow - 1) * sw + 1 : sw]


def cast(layer: Layer, x: Array) -> Array:
    """Return values in the dtype that the layer computes in."""
    return x.astype(layer.compute_dtype)


def finish(layer: Layer, y: Array) -> ChannelMajor:
    """Add the bias of a convolution to ``(c, h, w, n)`` and apply its activation."""
    if layer.use_bias:
        y = y + cast(layer, layer.bias.value)[:, None, None, None]
    return ChannelMajor(y if layer.activation is None else layer.activation(y))


def finish_channels_last(layer: Layer, y: Array) -> Array:
    """Add the bias of a convolution to ``(n, h, w, c)`` and apply its activation."""
    if layer.use_bias:
        y = y + cast(layer, layer.bias.value)
    return y if layer.activation is None else layer.activation(y)


def is_elementwise(layer: Layer) -> bool:
    """Return whether the layer's activation is known to act on each value alone."""
    return layer.activation is None or layer.activation.__name__ in ELEMENTWISE
