"""What EfficientNetB0 (Tan and Le, 2019, arXiv:1905.11946) and EfficientNet-Lite share: all but input and output."""

from collections.abc import Sequence
from math import ceil
from typing import Literal, NamedTuple

import keras

from fashion.models.blocks import convolution


class Stage(NamedTuple):
    """One row of table 1 of the paper: ``repeats`` MBConv blocks."""

    expansion: int
    kernel: int
    filters: int
    repeats: int


STEM_FILTERS, HEAD_FILTERS = 32, 1280
STAGES = (
    Stage(expansion=1, kernel=3, filters=16, repeats=1),
    Stage(expansion=6, kernel=3, filters=24, repeats=2),
    Stage(expansion=6, kernel=5, filters=40, repeats=2),
    Stage(expansion=6, kernel=3, filters=80, repeats=3),
    Stage(expansion=6, kernel=5, filters=112, repeats=3),
    Stage(expansion=6, kernel=5, filters=192, repeats=4),
    Stage(expansion=6, kernel=3, filters=320, repeats=1),
)
STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # the paper's, for images of 224 pixels
SQUEEZE_RATIO = 0.25


class Variant(NamedTuple):
    """How the blocks of a network are made.

    Attributes:
        activation: Keras's name of the activation after each convolution but the projections.
        squeeze: Whether each block scales its channels by squeeze-and-excitation.
        drop_connect_rate: Probability of dropping the last residual block; it grows linearly from 0 at the first.
        momentum: Share of the moving statistics that batch normalisation keeps at each step.
        width: Factor of the filters of the stages, which are rounded to a multiple of 8.
        depth: Factor of the repeats of all stages but the first and the last, rounded up, as in EfficientNet-Lite.
    """

    activation: Literal["silu", "relu6"]
    squeeze: bool
    drop_connect_rate: float
    momentum: float
    width: float = 1.0
    depth: float = 1.0

    @property
    def stages(self) -> list[Stage]:
        """The stages of this network."""
        stages = list(STAGES)
        if self.width != 1:
            stages = [stage._replace(filters=8 * round(stage.filters * self.width / 8)) for stage in stages]
        deeper = [stage._replace(repeats=ceil(stage.repeats * self.depth)) for stage in stages[1:-1]]
        return [stages[0], *deeper, stages[-1]]


def pooled_features(
    x: keras.KerasTensor, variant: Variant, *, stem_stride: int = 2, stage_strides: Sequence[int] | None = None
) -> keras.KerasTensor:
    """Return ``(n, 1280)``, the mean of the last maps, of scaled pixels ``(n, h, w, c)``; strides are the paper's."""
    x = _convolution(x, STEM_FILTERS, kernel=3, stride=stem_stride, momentum=variant.momentum, name="stem")
    x = keras.layers.Activation(variant.activation, name="stem_activation")(x)

    blocks = [
        (stage, stride if repeat == 0 else 1)
        for stage, stride in zip(variant.stages, stage_strides or STAGE_STRIDES, strict=True)
        for repeat in range(stage.repeats)
    ]
    for index, (stage, stride) in enumerate(blocks):
        drop = variant.drop_connect_rate * index / len(blocks)
        x = _mbconv(x, stage, stride, drop, variant, name=f"block{index + 1:02d}")

    x = _convolution(x, HEAD_FILTERS, kernel=1, stride=1, momentum=variant.momentum, name="head")
    x = keras.layers.Activation(variant.activation, name="head_activation")(x)
    return keras.layers.GlobalAveragePooling2D(name="pool")(x)


def _mbconv(
    inputs: keras.KerasTensor, stage: Stage, stride: int, drop_connect: float, variant: Variant, name: str
) -> keras.KerasTensor:
    """Inverted residual: expand, depthwise, squeeze, excite, project, add (Sandler et al., 2018, arXiv:1801.04381)."""
    filters_in = inputs.shape[-1]
    x = inputs
    if stage.expansion > 1:
        x = _convolution(x, filters_in * stage.expansion, 1, 1, variant.momentum, f"{name}_expand")
        x = keras.layers.Activation(variant.activation, name=f"{name}_expand_activation")(x)
    x = keras.layers.DepthwiseConv2D(
        stage.kernel,
        stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_kernel_initializer(),
        name=f"{name}_depthwise_conv",
    )(x)
    x = _batch_norm(x, variant.momentum, f"{name}_depthwise")
    x = keras.layers.Activation(variant.activation, name=f"{name}_depthwise_activation")(x)
    if variant.squeeze:
        x = _squeeze_and_excite(x, max(1, int(filters_in * SQUEEZE_RATIO)), name)
    x = _convolution(x, stage.filters, 1, 1, variant.momentum, f"{name}_project")
    if stride > 1 or filters_in != stage.filters:
        return x
    if drop_connect > 0:
        x = keras.layers.Dropout(drop_connect, noise_shape=(None, 1, 1, 1), name=f"{name}_drop_connect")(x)
    return keras.layers.Add(name=f"{name}_add")([inputs, x])


def _squeeze_and_excite(inputs: keras.KerasTensor, squeezed: int, name: str) -> keras.KerasTensor:
    """Scale each channel by a gate computed from its mean over the image (Hu et al., 2018, arXiv:1709.01507)."""
    filters = inputs.shape[-1]
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(inputs)
    for units, activation, layer in ((squeezed, "silu", "reduce"), (filters, "sigmoid", "excite")):
        x = keras.layers.Conv2D(
            units, 1, activation=activation, kernel_initializer=_kernel_initializer(), name=f"{name}_{layer}"
        )(x)
    return keras.layers.Multiply(name=f"{name}_scale")([inputs, x])


def _convolution(
    inputs: keras.KerasTensor, filters: int, kernel: int, stride: int, momentum: float, name: str
) -> keras.KerasTensor:
    return _batch_norm(convolution(inputs, filters, kernel, stride, name, _kernel_initializer()), momentum, name)


def _batch_norm(inputs: keras.KerasTensor, momentum: float, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(momentum=momentum, epsilon=1e-3, name=f"{name}_norm")(inputs)


def _kernel_initializer() -> keras.Initializer:
    """Return He-normal by fan-out; a new object each time, since two layers that share one get equal weights.

    Not truncated, as in the authors' own code; on JAX that also builds the network 1.5 s sooner.
    """
    return keras.initializers.VarianceScaling(scale=2.0, mode="fan_out", distribution="untruncated_normal")
