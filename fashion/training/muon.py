"""Muon for convolutional networks: Keras's own takes matrices only."""

from typing import Any

import keras
from keras import ops
from pydantic import NonNegativeFloat, PositiveFloat

from fashion.config.schema import Share
from fashion.models.blocks import CLASSIFIER

ADAM_BETA_1, ADAM_BETA_2 = 0.9, 0.999
# Jordan et al.: a quintic whose slope at 0 is as steep as it may be, and how often it is applied.
NEWTON_SCHULZ_COEFFICIENTS, NEWTON_SCHULZ_STEPS = (3.4445, -4.7750, 2.0315), 5
RMS_OF_AN_ADAM_UPDATE = 0.2  # Liu et al., section 2.2


class Muon(keras.optimizers.Optimizer):
    """Orthogonalised momentum for the kernels of convolutions and hidden dense layers, AdamW for all other variables.

    A kernel is treated as a matrix from its height, width and input channels to its output channels (Jordan et al.,
    2024, https://kellerjordan.github.io/posts/muon), and its update is scaled to the size of Adam's (Liu et al., 2025,
    arXiv:2502.16982). The kernel of the classifier, and depthwise kernels, in which each channel is a filter of its
    own, stay with AdamW. Matrices get the updates of ``keras.optimizers.Muon``, bit for bit.

    Args:
        learning_rate: Learning rate of both.
        weight_decay: Weight decay of the kernels.
        momentum: Momentum of the kernels.
        adam_weight_decay: Weight decay of all other variables.
        nesterov: Whether a kernel's update looks one step ahead along its momentum.
        epsilon: Epsilon of AdamW.
        **kwargs: As ``keras.optimizers.Optimizer``.
    """

    def __init__(
        self,
        learning_rate: PositiveFloat,
        weight_decay: NonNegativeFloat,
        momentum: Share,
        adam_weight_decay: NonNegativeFloat,
        nesterov: bool = True,
        epsilon: PositiveFloat = 1e-7,
        **kwargs: Any,
    ) -> None:
        # The base class would apply one weight decay to all variables; update_step applies both.
        super().__init__(learning_rate, **kwargs)
        self.kernel_weight_decay = weight_decay
        self.adam_weight_decay = adam_weight_decay
        self.momentum = momentum
        self.nesterov = nesterov
        self.epsilon = epsilon

    def build(self, variables: list[keras.Variable]) -> None:
        """Create a momentum for each variable, and a second moment for those of AdamW."""
        if self.built:
            return
        super().build(variables)
        moments = {}
        for variable in variables:
            momentum = self.add_variable_from_reference(variable, name="momentum")
            velocity = None if _is_kernel(variable) else self.add_variable_from_reference(variable, name="velocity")
            for key in (variable, variable.value):  # on TensorFlow, update_step gets the native variable
                moments[id(key)] = (momentum, velocity)
        self._moments = moments

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay a variable, then update it by the method that it belongs to."""
        momentum, velocity = self._moments[id(variable)]
        decay = ops.cast(self.kernel_weight_decay if velocity is None else self.adam_weight_decay, variable.dtype)
        # Not the argument: TensorFlow would fold the constants of a schedule that both share in another order.
        rate = ops.cast(self.learning_rate, variable.dtype)
        self.assign(variable, variable - variable * decay * rate)
        if velocity is None:
            self._update_kernel(gradient, variable, learning_rate, momentum)
        else:
            self._update_by_adam(gradient, variable, learning_rate, momentum, velocity)

    def _update_kernel(self, gradient: Any, kernel: Any, learning_rate: Any, momentum: Any) -> None:
        self.assign_add(momentum, gradient + momentum * (self.momentum - 1))
        direction = gradient + self.momentum * momentum if self.nesterov else momentum
        matrix = ops.reshape(direction, (-1, kernel.shape[-1]))
        update = learning_rate * orthogonalised(matrix)
        update = update * ops.sqrt(max(matrix.shape)) * RMS_OF_AN_ADAM_UPDATE
        self.assign_sub(kernel, ops.reshape(update, kernel.shape))

    def _update_by_adam(self, gradient: Any, variable: Any, learning_rate: Any, momentum: Any, velocity: Any) -> None:
        dtype = variable.dtype
        learning_rate, gradient, step = (
            ops.cast(each, dtype) for each in (learning_rate, gradient, self.iterations + 1)
        )
        power_1, power_2 = (ops.power(ops.cast(beta, dtype), step) for beta in (ADAM_BETA_1, ADAM_BETA_2))
        rate = learning_rate * ops.sqrt(1 - power_2) / (1 - power_1)
        self.assign_add(momentum, (gradient - momentum) * (1 - ADAM_BETA_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - ADAM_BETA_2))
        self.assign_sub(variable, momentum * rate / (ops.sqrt(velocity) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "weight_decay": self.kernel_weight_decay,
            "adam_weight_decay": self.adam_weight_decay,
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "epsilon": self.epsilon,
        }


def orthogonalised(matrix: Any) -> Any:
    """Return a matrix with the same singular vectors and singular values near 1, by iterations of Newton and Schulz.

    Args:
        matrix: ``(m, n)`` float.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)  # no singular value is above 1
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ ops.transpose(x)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return ops.transpose(x) if tall else x


def _is_kernel(variable: keras.Variable) -> bool:
    """Return whether a variable is the kernel of a full convolution or of a hidden dense layer."""
    if len(variable.shape) == 4:
        return variable.path.endswith("/kernel") and "depthwise" not in variable.path
    return len(variable.shape) == 2 and "embedding" not in variable.path.lower() and CLASSIFIER not in variable.path
