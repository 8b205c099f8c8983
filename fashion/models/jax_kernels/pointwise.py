"""Convolutions as one matrix product: pointwise (1x1) ones, and those whose patches are small."""

from typing import Any

import jax.numpy as jnp

from fashion.models.conv_geometry import axis_geometry
from fashion.models.jax_kernels.layout import cast, channel_major, finish, finish_channels_last, is_elementwise, window
from fashion.models.kernels import Layer

# Input values for one output, above which a convolution that is not 1x1 stays Keras's.
MAX_PATCH_VALUES = 64


def convolution(layer: Layer, x: Any, training: bool | None) -> Any:
    """Convolution as one matrix product with its patches: 1x1, and others of few input values per output (the stem)."""
    if layer.dilation_rate != (1, 1) or layer.groups != 1 or layer.data_format != "channels_last":
        return None
    if not is_elementwise(layer) or layer.lora_enabled:
        return None
    kh, kw, c, filters = layer.kernel.shape
    if kh * kw * c > MAX_PATCH_VALUES and (layer.kernel_size != (1, 1) or layer.strides != (1, 1)):
        return None
    x = cast(layer, channel_major(x))
    kernel = cast(layer, layer.kernel.value).reshape(kh * kw * c, filters)
    oh, *pad_h = axis_geometry(x.shape[1], kh, layer.strides[0], layer.padding)
    ow, *pad_w = axis_geometry(x.shape[2], kw, layer.strides[1], layer.padding)
    if layer.kernel_size == (1, 1) and layer.strides == (1, 1):
        patches = x
    else:
        padded = jnp.pad(x, ((0, 0), pad_h, pad_w, (0, 0)))
        windows = [window(padded, a, b, (oh, ow), layer.strides) for a in range(kh) for b in range(kw)]
        patches = jnp.concatenate(windows)
    n = x.shape[3]
    return finish(layer, (kernel.T @ patches.reshape(kh * kw * c, oh * ow * n)).reshape(filters, oh, ow, n))


def convolution_small_batch(layer: Layer, x: Any, training: bool | None) -> Any:
    """1x1 convolution of channels-last images as one matrix product."""
    if layer.kernel_size != (1, 1) or layer.strides != (1, 1) or layer.groups != 1 or layer.lora_enabled:
        return None
    if layer.data_format != "channels_last":
        return None
    n, h, w, c = x.shape
    kernel = cast(layer, layer.kernel.value).reshape(c, layer.filters)
    return finish_channels_last(layer, (cast(layer, x).reshape(-1, c) @ kernel).reshape(n, h, w, layer.filters))
