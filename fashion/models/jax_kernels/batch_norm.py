"""Batch normalisation, as sums over one contiguous row per channel."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from fashion.models.jax_kernels.layout import Array, ChannelMajor, cast, channel_major
from fashion.models.kernels import Layer


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Normalise rows; return outputs, means and variances.

    Mean and mean square are two sums over contiguous rows (0.27 ms for 96 x 32,768; centring first adds a pass).

    Args:
        x: ``(c, p)`` float32, one row per channel.
        gamma: ``(c,)`` scale.
        beta: ``(c,)`` offset.
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


# A gradient that ends in a division is computed once. XLA copies cheap producers into every consumer and ignores
# optimisation barriers here, but counts a division as expensive: the operations of a step fell from 182 to 144 ms.
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


def batch_norm(layer: Layer, x: Any, training: bool | None) -> Any:
    """Batch normalisation of ``(c, h, w, n)``; in training it updates the moving statistics."""
    if layer.axis not in (-1, 3) or layer.renorm or not (layer.scale and layer.center):
        return None
    x = channel_major(x)
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
    return ChannelMajor(cast(layer, y.reshape(c, h, w, n)))
