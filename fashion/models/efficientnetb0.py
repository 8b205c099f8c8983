"""EfficientNetB0 (Tan and Le, 2019, arXiv:1905.11946) trained from scratch, at any size."""

from typing import Annotated, Literal, NamedTuple

import keras
from pydantic import Field, NonNegativeFloat, PositiveInt

from fashion.data.dataset import PixelStatistics
from fashion.models.blocks import Shape, Stride, class_probabilities, image_input, standardise


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
SQUEEZE_RATIO = 0.25


def efficientnetb0(
    min_image_size: PositiveInt,
    stem_stride: Stride,
    stage_strides: Annotated[list[Stride], Field(min_length=len(STAGES), max_length=len(STAGES))],
    scaling: Literal["standardise", "divide_by_255"],
    batch_norm_momentum: Annotated[float, Field(ge=0, lt=1)],
    drop_connect_rate: Annotated[float, Field(ge=0, lt=1)],
    dense_units: list[PositiveInt],
    dropout: Annotated[NonNegativeFloat, Field(lt=1)],
    *,
    input_shape: Shape,
    classes: int,
    pixels: PixelStatistics,
) -> keras.Model:
    """Build EfficientNetB0 with global average pooling, dense layers and softmax.

    Args:
        min_image_size: Smaller images are padded with zeros to this many pixels a side; 32 lets the five strides of 2
            divide 28 pixels evenly.
        stem_stride: Stride of the first convolution; the paper has 2.
        stage_strides: Stride of each stage's first block; 1, 2, 2, 2, 1, 2, 1 in the paper, for images of 224 pixels.
        scaling: ``standardise`` gives the stem pixels of mean 0 and standard deviation 1. ``divide_by_255`` divides the
            [0, 1] input by 255 once more, as Keras's ready-made EfficientNetB0 does. The baseline needs it; elsewhere
            it is a pitfall: the stem's batch normalisation (epsilon 1e-3) cannot recover inputs of 0 to 0.004.
        batch_norm_momentum: Share of the moving statistics kept at each step. Keras's 0.99 needs epochs to settle at
            this number of steps, and validation losses are meaningless until then.
        drop_connect_rate: Probability of dropping the last residual block (Huang et al., 2016, arXiv:1603.09382);
            it grows linearly from 0 at the first.
        dense_units: Width of each dense ReLU layer between pooling and softmax.
        dropout: Share of features dropped before the softmax layer.
        input_shape: Height, width and channels of an image.
        classes: Number of classes.
        pixels: Of the training images, for standardisation.

    Returns:
        A model from ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
    """
    images = image_input(input_shape)
    x = _padded(images, min_image_size)
    x = standardise(x, pixels) if scaling == "standardise" else keras.layers.Rescaling(1 / 255, name="divide_by_255")(x)
    x = _convolution(x, STEM_FILTERS, kernel=3, stride=stem_stride, momentum=batch_norm_momentum, name="stem")
    x = keras.layers.Activation("silu", name="stem_activation")(x)

    blocks = [
        (stage, stride if repeat == 0 else 1)
        for stage, stride in zip(STAGES, stage_strides, strict=True)
        for repeat in range(stage.repeats)
    ]
    for index, (stage, stride) in enumerate(blocks):
        drop = drop_connect_rate * index / len(blocks)
        x = _mbconv(x, stage, stride, drop, batch_norm_momentum, name=f"block{index + 1:02d}")

    x = _convolution(x, HEAD_FILTERS, kernel=1, stride=1, momentum=batch_norm_momentum, name="head")
    x = keras.layers.Activation("silu", name="head_activation")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    for index, units in enumerate(dense_units):
        x = keras.layers.Dense(units, activation="relu", name=f"dense{index + 1}")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(images, class_probabilities(x, classes), name="efficientnetb0")


def _padded(images: keras.KerasTensor, side: int) -> keras.KerasTensor:
    missing = [max(0, side - size) for size in images.shape[1:3]]
    if not any(missing):
        return images
    return keras.layers.ZeroPadding2D([(total // 2, total - total // 2) for total in missing], name="pad")(images)


def _mbconv(
    inputs: keras.KerasTensor, stage: Stage, stride: int, drop_connect: float, momentum: float, name: str
) -> keras.KerasTensor:
    """Inverted residual: expand, depthwise, squeeze, excite, project, add (Sandler et al., 2018, arXiv:1801.04381)."""
    filters_in = inputs.shape[-1]
    x = inputs
    if stage.expansion > 1:
        x = _convolution(x, filters_in * stage.expansion, 1, 1, momentum, f"{name}_expand")
        x = keras.layers.Activation("silu", name=f"{name}_expand_activation")(x)
    x = keras.layers.DepthwiseConv2D(
        stage.kernel,
        stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_kernel_initializer(),
        name=f"{name}_depthwise_conv",
    )(x)
    x = _batch_norm(x, momentum, f"{name}_depthwise")
    x = keras.layers.Activation("silu", name=f"{name}_depthwise_activation")(x)
    x = _squeeze_and_excite(x, max(1, int(filters_in * SQUEEZE_RATIO)), name)
    x = _convolution(x, stage.filters, 1, 1, momentum, f"{name}_project")
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
    x = keras.layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_kernel_initializer(),
        name=f"{name}_conv",
    )(inputs)
    return _batch_norm(x, momentum, name)


def _batch_norm(inputs: keras.KerasTensor, momentum: float, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(momentum=momentum, epsilon=1e-3, name=f"{name}_norm")(inputs)


def _kernel_initializer() -> keras.Initializer:
    """Return He-normal by fan-out; a new object each time, since two layers that share one get equal weights.

    Not truncated, as in the authors' own code; on JAX that also builds the network 1.5 s sooner.
    """
    return keras.initializers.VarianceScaling(scale=2.0, mode="fan_out", distribution="untruncated_normal")
