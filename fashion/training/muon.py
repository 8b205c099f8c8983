"""Muon for convolutions: Keras's own takes matrices alone."""

from typing import Any

import keras
from keras import ops
from pydantic import NonNegativeFloat, PositiveFloat

from fashion.config.schema import Share


class Muon(keras.optimizers.Muon):
    """Orthogonalised momentum for the kernels of convolutions and hidden dense layers, AdamW for all else.

    A kernel is taken as a matrix from its height, width and input channels to its output channels (Jordan et al., 2024,
    https://kellerjordan.github.io/posts/muon). Keras's Muon leaves kernels of convolutions to AdamW. The layer that
    tells classes and kernels of depthwise convolutions, each channel of which is a filter of its own, stay with AdamW.

    Args:
        learning_rate: Of both.
        weight_decay: Of the kernels.
        momentum: Of the kernels.
        adam_weight_decay: Of all else.
        **kwargs: As ``keras.optimizers.Muon``.
    """

    def __init__(
        self,
        learning_rate: PositiveFloat,
        weight_decay: NonNegativeFloat,
        momentum: Share,
        adam_weight_decay: NonNegativeFloat,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            momentum=momentum,
            adam_weight_decay=adam_weight_decay,
            exclude_layers=["probabilities"],
            **kwargs,
        )

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) == 4:
            return not variable.path.endswith("/kernel") or "depthwise" in variable.path
        return super()._should_use_adamw(variable)

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, gradient + m * (self.momentum - 1))
        direction = gradient + self.momentum * m if self.nesterov else m
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        update = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(update, variable.shape))
