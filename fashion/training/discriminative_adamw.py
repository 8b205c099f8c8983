"""AdamW with a lower learning rate for all layers but the last, to fine-tune a pretrained network."""

from typing import Any

import keras
from keras import ops
from pydantic import NonNegativeFloat, PositiveFloat

from fashion.config.schema import Share
from fashion.models.blocks import CLASSIFIER


class DiscriminativeAdamW(keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101) with two rates.

    Layers that keep what they learnt before change more slowly than the new one (Howard and Ruder, 2018,
    arXiv:1801.06146). With a ``backbone_rate`` of 1 these are the updates of ``keras.optimizers.AdamW``.

    Args:
        learning_rate: Learning rate of the last layer.
        weight_decay: Weight decay of all variables.
        backbone_rate: Learning rate of all others, as a share of ``learning_rate``.
        **kwargs: As ``keras.optimizers.Adam``.
    """

    def __init__(
        self, learning_rate: PositiveFloat, weight_decay: NonNegativeFloat, backbone_rate: Share, **kwargs: Any
    ) -> None:
        # The base class would decay all variables by one rate; update_step decays each by its own.
        super().__init__(learning_rate, **kwargs)
        self.decay = weight_decay
        self.backbone_rate = backbone_rate

    def build(self, variables: list[keras.Variable]) -> None:
        """Find the variables of the last layer."""
        if self.built:
            return
        super().build(variables)
        last = [variable for variable in variables if CLASSIFIER in variable.path]
        # On TensorFlow, update_step gets the native variable.
        self._last = {id(each) for variable in last for each in (variable, variable.value)}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay a variable and update it, each at the variable's own rate."""
        rate = ops.cast(learning_rate, variable.dtype)
        if id(variable) not in self._last:
            rate = rate * self.backbone_rate
        self.assign(variable, variable - variable * self.decay * rate)
        super().update_step(gradient, variable, rate)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "weight_decay": self.decay, "backbone_rate": self.backbone_rate}
