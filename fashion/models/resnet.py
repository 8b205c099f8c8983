"""A small residual network (He et al., 2016, arXiv:1512.03385) for 28 x 28 images."""

from typing import Annotated

import keras
from pydantic import Field, PositiveInt

from fashion.models.blocks import Stride, class_probabilities, convolution, image_input, standardise


def resnet(
    stem_filters: PositiveInt,
    stem_stride: Stride,
    widths: Annotated[list[PositiveInt], Field(min_length=1, max_length=5)],
    blocks_per_stage: PositiveInt,
    batch_norm_momentum: Annotated[float, Field(ge=0, lt=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
) -> keras.Model:
    """Build a residual network of plain 3 x 3 convolutions, the arithmetic that CPUs do fastest.

    Args:
        stem_filters: Filters of the first convolution.
        stem_stride: Its stride.
        widths: Filters of each stage; every stage but the first halves height and width.
        blocks_per_stage: Residual blocks, of two convolutions each, in every stage.
        batch_norm_momentum: Share of the moving statistics kept at each step.
        dropout: Share of features dropped before the softmax layer.

    Returns:
        A model from ``(n, 28, 28, 1)`` float32 in [0, 1] to ``(n, 10)`` probabilities.
    """
    images = image_input()
    x = _convolution(standardise(images), stem_filters, stem_stride, batch_norm_momentum, "stem")
    x = keras.layers.Activation("relu", name="stem_activation")(x)
    for stage, filters in enumerate(widths, start=1):
        for block in range(1, blocks_per_stage + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _residual_block(x, filters, stride, batch_norm_momentum, f"stage{stage}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(images, class_probabilities(x), name="resnet")


def _residual_block(
    inputs: keras.KerasTensor, filters: int, stride: int, momentum: float, name: str
) -> keras.KerasTensor:
    x = _convolution(inputs, filters, stride, momentum, f"{name}_first")
    x = keras.layers.Activation("relu", name=f"{name}_first_activation")(x)
    x = _convolution(x, filters, 1, momentum, f"{name}_second")
    shortcut = inputs
    if stride > 1 or inputs.shape[-1] != filters:
        shortcut = _convolution(inputs, filters, stride, momentum, f"{name}_shortcut", kernel=1)
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.Activation("relu", name=f"{name}_activation")(x)


def _convolution(
    inputs: keras.KerasTensor, filters: int, stride: int, momentum: float, name: str, kernel: int = 3
) -> keras.KerasTensor:
    x = convolution(inputs, filters, kernel, stride, name)
    return keras.layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
