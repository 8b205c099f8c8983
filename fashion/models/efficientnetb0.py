"""EfficientNetB0 (Tan and Le, 2019, arXiv:1905.11946) trained from scratch, at any size."""

from typing import Annotated, Literal

import keras
from pydantic import Field, NonNegativeFloat, PositiveInt

from fashion.data.dataset import PixelStatistics
from fashion.models.blocks import Shape, Stride, class_probabilities, image_input, pad_to, standardise
from fashion.models.efficientnet import STAGES, Variant, pooled_features


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
        batch_norm_momentum: Share of the moving statistics kept at each step. Keras's 0.99 lags behind the
            weights early in training, and validation losses are meaningless until it has caught up.
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
    x = pad_to(images, min_image_size)
    x = standardise(x, pixels) if scaling == "standardise" else keras.layers.Rescaling(1 / 255, name="divide_by_255")(x)
    variant = Variant("silu", squeeze=True, drop_connect_rate=drop_connect_rate, momentum=batch_norm_momentum)
    x = pooled_features(x, variant, stem_stride=stem_stride, stage_strides=stage_strides)
    for index, units in enumerate(dense_units):
        x = keras.layers.Dense(units, activation="relu", name=f"dense{index + 1}")(x)
    return keras.Model(images, class_probabilities(x, classes, dropout), name="efficientnetb0")
