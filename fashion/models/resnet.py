"""A small residual network (He et al., 2016, arXiv:1512.03385) for small images."""

from typing import Annotated

import keras
from pydantic import Field, PositiveInt

from fashion.data.dataset import PixelStatistics
from fashion.models.blocks import (
    Shape,
    StemStride,
    class_probabilities,
    convolution,
    image_input,
    pool_stem,
    standardise,
    stem_stride_for,
)


def resnet(
    stem_filters: PositiveInt,
    stem_stride: StemStride,
    widths: Annotated[list[PositiveInt], Field(min_length=1, max_length=5)],
    blocks_per_stage: PositiveInt,
    batch_norm_momentum: Annotated[float, Field(ge=0, lt=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
    *,
    input_shape: Shape,
    classes: int,
    pixels: PixelStatistics,
) -> keras.Model:
    """Build a residual network of plain 3 x 3 convolutions, the arithmetic that CPUs do fastest.

    Args:
        stem_filters: Filters of the first convolution.
        stem_stride: Its stride; 4 adds max pooling. "auto" chooses by the size of the images: 1 below 48 pixels,
            2 below 128, else 4.
        widths: Filters of each stage; every stage but the first halves height and width.
        blocks_per_stage: Residual blocks, of two convolutions each, in every stage.
        batch_norm_momentum: Share of the moving statistics kept at each step.
        dropout: Share of features dropped before the softmax layer.
        input_shape: Height, width and channels of an image.
        classes: Number of classes.
        pixels: Of the training images, for standardisation.

    Returns:
        A model from ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
    """
    images = image_input(input_shape)
    stride = stem_stride_for(input_shape, stem_stride)
    x = _convolution(standardise(images, pixels), stem_filters, min(stride, 2), batch_norm_momentum, "stem")
    x = keras.layers.Activation("relu", name="stem_activation")(x)
    x = pool_stem(x, stride)
    for stage, filters in enumerate(widths, start=1):
        for block in range(1, blocks_per_stage + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _residual_block(x, filters, stride, batch_norm_momentum, f"stage{stage}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, class_probabilities(x, classes, dropout), name="resnet")


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
