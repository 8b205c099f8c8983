"""Fast JAX-on-CPU lowerings of stock Keras layers, same weights and numbers."""

import jax.numpy as jnp
import keras
from keras import layers


def should_use(model):
    """Whether fast layers apply: JAX backend whose default device is the CPU."""
    del model
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


def _geometry(size, kernel, stride, padding):
    """Output length and left padding of one spatial axis."""
    if padding == "valid":
        return (size - kernel) // stride + 1, 0
    out = -(-size // stride)
    return out, max((out - 1) * stride + kernel - size, 0) // 2


def _shifted(x, kernel, strides, padding):
    n, h, w, c = x.shape
    kh, kw = kernel.shape[:2]
    sh, sw = strides
    oh, top = _geometry(h, kh, sh, padding)
    ow, left = _geometry(w, kw, sw, padding)
    bottom = max((oh - 1) * sh + kh - h - top, 0)
    right = max((ow - 1) * sw + kw - w - left, 0)
    padded = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    total = 0.0
    for a in range(kh):
        if not any(0 <= o * sh + a - top < h for o in range(oh)):
            continue
        for b in range(kw):
            if not any(0 <= o * sw + b - left < w for o in range(ow)):
                continue
            window = padded[:, a : a + (oh - 1) * sh + 1 : sh, b : b + (ow - 1) * sw + 1 : sw]
            total = total + window * kernel[a, b]
    return total


def _banded(x, kernel, strides, padding):
    n, h, w, c = x.shape
    kh, kw = kernel.shape[:2]
    sh, sw = strides
    oh, top = _geometry(h, kh, sh, padding)
    ow, left = _geometry(w, kw, sw, padding)
    import numpy as np

    rows = np.arange(h)[:, None] - np.arange(oh)[None, :] * sh + top
    cols = np.arange(w)[:, None] - np.arange(ow)[None, :] * sw + left
    pick_h = (rows[:, :, None] == np.arange(kh)).astype(kernel.dtype)
    pick_w = (cols[:, :, None] == np.arange(kw)).astype(kernel.dtype)
    pick = np.einsum("hpa,wqb->hwpqab", pick_h, pick_w).reshape(h * w * oh * ow, kh * kw)
    band = (kernel.reshape(kh * kw, c).T @ pick.T).reshape(c, h * w, oh * ow)
    y = jnp.einsum("nic,cio->noc", x.reshape(n, h * w, c), band)
    return y.reshape(n, oh, ow, c)


class FastDepthwiseConv2D(layers.DepthwiseConv2D):
    def call(self, inputs):
        if (
            self.dilation_rate != (1, 1)
            or self.data_format != "channels_last"
            or self.depth_multiplier != 1
        ):
            return super().call(inputs)
        kernel = jnp.asarray(self.kernel)[..., 0].astype(inputs.dtype)
        form = _banded if inputs.shape[1] * inputs.shape[2] <= 64 else _shifted
        outputs = form(inputs, kernel, self.strides, self.padding)
        if self.use_bias:
            outputs = outputs + jnp.asarray(self.bias)
        return outputs if self.activation is None else self.activation(outputs)


class FastConv2D(layers.Conv2D):
    def call(self, inputs):
        if (
            self.kernel_size != (1, 1)
            or self.strides != (1, 1)
            or self.groups != 1
            or self.data_format != "channels_last"
        ):
            return super().call(inputs)
        n, h, w, c = inputs.shape
        outputs = inputs.reshape(n * h * w, c) @ jnp.asarray(self.kernel)[0, 0].astype(inputs.dtype)
        outputs = outputs.reshape(n, h, w, self.filters)
        if self.use_bias:
            outputs = outputs + jnp.asarray(self.bias)
        return outputs if self.activation is None else self.activation(outputs)


_FAST = {layers.DepthwiseConv2D: FastDepthwiseConv2D, layers.Conv2D: FastConv2D}
_STOCK = {fast: stock for stock, fast in _FAST.items()}


def _clone(model, classes, dtype=None):
    def clone_layer(layer):
        config = layer.get_config()
        if dtype is not None and "dtype" in config:
            config["dtype"] = dtype
        return classes.get(type(layer), type(layer)).from_config(config)

    clone = keras.models.clone_model(model, clone_function=clone_layer, recursive=True)
    for new, old in zip(clone.variables, model.variables, strict=True):
        new.assign(old)
    return clone


def fast_layers(model):
    """A clone of `model` on the fast layers, weights copied; `model` itself where they do not apply."""
    return _clone(model, _FAST) if should_use(model) else model


def stock_layers(model, dtype=None):
    """A clone of `model` that holds stock Keras layers only, weights copied."""
    return _clone(model, _STOCK, dtype)
