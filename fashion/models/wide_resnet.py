"""Wide residual networks (Zagoruyko and Komodakis, 2016, arXiv:1605.07146) for small images."""

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

STEM_FILTERS = 16
STAGE_FILTERS = (16, 32, 64)  # times the width multiplier


def wide_resnet(
    blocks_per_stage: PositiveInt,
    width_multiplier: PositiveInt,
    batch_norm_momentum: Annotated[float, Field(ge=0, lt=1)],
    dropout: Annotated[float, Field(ge=0, lt=1)],
    stem_stride: StemStride = "auto",  # configurations of earlier releases lack it: their images of 28 pixels get 1
    *,
    input_shape: Shape,
    classes: int,
    pixels: PixelStatistics,
) -> keras.Model:
    """Build WRN-n-k: three stages of blocks that normalise and activate before each of their two convolutions.

    Args:
        blocks_per_stage: A sixth of the depth n less 4: 2 for WRN-16, 4 for WRN-28.
        width_multiplier: Factor k of the 16, 32 and 64 filters of the stages; all but the first halve height and width.
        batch_norm_momentum: Share of the moving statistics kept at each step.
        dropout: Share of features dropped between the two convolutions of each block.
        stem_stride: Stride of the first convolution; 4 adds max pooling. "auto" chooses by the size of the images: 1
            below 48 pixels, 2 below 128, else 4.
        input_shape: Height, width and channels of an image.
        classes: Number of classes.
        pixels: Of the training images, for standardisation.

    Returns:
        A model from ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
    """
    images = image_input(input_shape)
    stride = stem_stride_for(input_shape, stem_stride)
    x = pool_stem(convolution(standardise(images, pixels), STEM_FILTERS, 3, min(stride, 2), "stem"), stride)
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        for block in range(1, blocks_per_stage + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage{stage}_block{block}"
            x = _block(x, filters * width_multiplier, stride, batch_norm_momentum, dropout, name)
    x = _activated(x, batch_norm_momentum, "head")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, class_probabilities(x, classes), name="wide_resnet")


def _block(
    inputs: keras.KerasTensor, filters: int, stride: int, momentum: float, dropout: float, name: str
) -> keras.KerasTensor:
    activated = _activated(inputs, momentum, f"{name}_first")
    x = convolution(activated, filters, 3, stride, f"{name}_first")
    x = _activated(x, momentum, f"{name}_second")
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    x = convolution(x, filters, 3, 1, f"{name}_second")
    shortcut = inputs
    if stride > 1 or inputs.shape[-1] != filters:
        shortcut = convolution(activated, filters, 1, stride, f"{name}_shortcut")
    return keras.layers.Add(name=f"{name}_add")([shortcut, x])


def _activated(inputs: keras.KerasTensor, momentum: float, name: str) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(inputs)
    return keras.layers.Activation("relu", name=f"{name}_activation")(x)
