"""Mixup and CutMix: images combined in pairs, and their labels with them."""

from typing import Annotated

import keras
import numpy as np
from keras import ops
from pydantic import Field
from scipy.special import betaincinv

from fashion.config.build import build
from fashion.config.nodes import ConfigNode
from fashion.errors import InputError

QUANTILES = 4096
Alpha = Annotated[float, Field(ge=0, le=100)]


class Mixup(keras.layers.Layer):
    """Combine each image with another one of its batch, after another augmentation.

    Mixup (Zhang et al., 2017, arXiv:1710.09412) blends the two, CutMix (Yun et al., 2019, arXiv:1905.04899) pastes a
    rectangle of the other one. As in the authors' code, a batch has one share and one rectangle. Partners come from the
    reversed batch, whose order is random already. If an image's share is below one half, the two swap places, so its
    label is that of the larger part, and the training accuracy is meaningful.

    Args:
        base: ``_target_`` and arguments of the augmentation that comes first.
        mixup_alpha: Shares are drawn from Beta(alpha, alpha); 0 for no mixup.
        cutmix_alpha: The same for the area outside of the rectangle; 0 for no CutMix. With both, each batch draws one.
        seed: Seed of the random parameters; each training step draws new ones.
    """

    def __init__(self, base: ConfigNode, mixup_alpha: Alpha, cutmix_alpha: Alpha, *, seed: int) -> None:
        super().__init__(name="augment", dtype="float32")
        self.base = build(base, seed=seed)
        if isinstance(self.base, Mixup):
            raise InputError("augment.base: got a choice that mixes images itself, expected another, as random_crop is")
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.random = keras.random.SeedGenerator((seed + 1) % 2**32)  # not the numbers of the base
        # A variable, for the loss of the same step to read it: Keras computes that apart from the network.
        self.share = self.add_weight(name="share", shape=(), initializer="ones", trainable=False)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Let the base check the shape of the images."""
        self.base.build(input_shape)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, h, w, c)`` images, transformed and mixed in training and untouched otherwise."""
        if not training:
            return images
        images = self.base(images, training=True)
        if not self.mixup_alpha and not self.cutmix_alpha:
            return images
        own = self._own_part(images)
        share = ops.mean(own)
        own, share = ops.where(share < 0.5, 1 - own, own), ops.maximum(share, 1 - share)
        self.share.assign(share)
        return own * images + (1 - own) * ops.flip(images, axis=0)

    def _own_part(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Return how much of each pixel is the image's own, ``(1, h, w, 1)`` in [0, 1]."""
        _, height, width, _ = images.shape
        blend = self._drawn_share(self.mixup_alpha) * ops.ones((1, height, width, 1))
        side = ops.sqrt(1 - self._drawn_share(self.cutmix_alpha))
        numbers = keras.random.uniform((3,), seed=self.random)
        # Their distance from the rectangle's centre, as shares of the sides.
        y = ops.abs((ops.arange(height, dtype="float32") + 0.5) / height - numbers[0])
        x = ops.abs((ops.arange(width, dtype="float32") + 0.5) / width - numbers[1])
        inside = (ops.reshape(y, (1, -1, 1, 1)) < side / 2) & (ops.reshape(x, (1, 1, -1, 1)) < side / 2)
        blends = (numbers[2] < 0.5) if self.mixup_alpha and self.cutmix_alpha else bool(self.mixup_alpha)
        return ops.where(blends, blend, 1 - ops.cast(inside, "float32"))

    def _drawn_share(self, alpha: float) -> keras.KerasTensor:
        """Return a number from Beta(alpha, alpha); 1 if alpha is 0."""
        if not alpha:
            return 1.0
        # The rejection sampling of keras.random.beta takes JAX three seconds to compile.
        quantiles = betaincinv(alpha, alpha, (np.arange(QUANTILES) + 0.5) / QUANTILES).astype(np.float32)
        return ops.take(quantiles, keras.random.randint((), 0, QUANTILES, dtype="int32", seed=self.random))
