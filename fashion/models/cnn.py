"""A plain convolutional network: the smallest sensible model, for quick runs and as a baseline."""

from typing import Annotated

import keras
from pydantic import Field, PositiveInt

from fashion.data.dataset import PixelStatistics
from fashion.models.blocks import Shape, class_probabilities, image_input, standardise

# Maps of images larger than the first are averaged down to at most the second before they are flattened, as VGG does in
# torchvision: the first dense layer would otherwise grow with the image, at 224 pixels to 26 million weights.
SMALL_SIDE, MAX_FLATTENED = 32, 8


def cnn(
    widths: Annotated[list[PositiveInt], Field(min_length=1, max_length=4)],
    dense_units: list[PositiveInt],
    dropout: Annotated[float, Field(ge=0, lt=1)],
    *,
    input_shape: Shape,
    classes: int,
    pixels: PixelStatistics,
) -> keras.Model:
    """Build convolution and pooling pairs, dense layers and softmax.

    Args:
        widths: Filters of each 3 x 3 convolution; each is followed by 2 x 2 max pooling.
        dense_units: Width of each dense ReLU layer.
        dropout: Share of features dropped before the softmax layer.
        input_shape: Height, width and channels of an image.
        classes: Number of classes.
        pixels: Of the training images, for standardisation.

    Returns:
        A model from ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
    """
    images = image_input(input_shape)
    x = standardise(images, pixels)
    for index, filters in enumerate(widths, start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{index}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{index}")(x)
    factors = tuple(-(-size // MAX_FLATTENED) for size in x.shape[1:3])
    if max(input_shape[:2]) > SMALL_SIDE and max(factors) > 1:
        x = keras.layers.AveragePooling2D(factors, padding="same", name="average")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(dense_units, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"dense{index}")(x)
    return keras.Model(images, class_probabilities(x, classes, dropout), name="cnn")
