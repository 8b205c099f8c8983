"""A plain convolutional network: the smallest sensible model, for quick runs and as a baseline."""

from typing import Annotated

import keras
from pydantic import Field, PositiveInt

from fashion.models.blocks import class_probabilities, image_input, standardise


def cnn(
    widths: Annotated[list[PositiveInt], Field(min_length=1, max_length=4)],
    dense_units: list[PositiveInt],
    dropout: Annotated[float, Field(ge=0, lt=1)],
) -> keras.Model:
    """Build convolution and pooling pairs, dense layers and softmax.

    Args:
        widths: Filters of each 3 x 3 convolution; each is followed by 2 x 2 max pooling.
        dense_units: Width of each dense ReLU layer.
        dropout: Share of features dropped before the softmax layer.

    Returns:
        A model from ``(n, 28, 28, 1)`` float32 in [0, 1] to ``(n, 10)`` probabilities.
    """
    images = image_input()
    x = standardise(images)
    for index, filters in enumerate(widths, start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{index}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{index}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(dense_units, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"dense{index}")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(images, class_probabilities(x), name="cnn")
