"""Building blocks that the networks share: the input, standardisation, convolution and the softmax layer."""

from typing import Literal

import keras

from fashion.models.keras_graph import call_that_made

# Mean and standard deviation of the 60,000 training images in [0, 1], rounded: 0.28604, 0.35302.
PIXEL_MEAN = 0.2860
PIXEL_STANDARD_DEVIATION = 0.3530

Stride = Literal[1, 2]


def image_input() -> keras.KerasTensor:
    """Return the input of every model: ``(n, 28, 28, 1)`` float32 in [0, 1]."""
    return keras.Input((28, 28, 1), name="image")


def standardise(images: keras.KerasTensor) -> keras.KerasTensor:
    """Scale ``(n, h, w, 1)`` pixels in [0, 1] to mean 0 and standard deviation 1 over the training set."""
    scale = 1 / PIXEL_STANDARD_DEVIATION
    return keras.layers.Rescaling(scale, offset=-PIXEL_MEAN * scale, name="standardise")(images)


def convolution(inputs: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    """Convolve ``(n, h, w, c)`` without a bias, which batch normalisation makes redundant; weights start He-normal."""
    return keras.layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(inputs)


def class_probabilities(features: keras.KerasTensor) -> keras.KerasTensor:
    """Return ``(n, 10)`` softmax probabilities of ``(n, d)`` features, in float32 at any precision of the network."""
    return keras.layers.Dense(10, activation="softmax", dtype="float32", name="probabilities")(features)


def last_dense(model: keras.Model) -> tuple[keras.layers.Dense, keras.KerasTensor] | None:
    """Return the dense layer that a model ends in and its input; None for a model that ends in another layer."""
    last = call_that_made(model.outputs[0])
    if not isinstance(last.operation, keras.layers.Dense):
        return None
    return last.operation, last.inputs[0]
