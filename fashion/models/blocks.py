"""Building blocks that the networks share: the input, standardisation, the stem, convolution and the softmax layer."""

from typing import Literal

import keras

from fashion.data.dataset import PixelStatistics
from fashion.models.keras_graph import call_that_made

Shape = tuple[int, int, int]  # height, width, channels
Stride = Literal[1, 2]
StemStride = Literal["auto", 1, 2, 4]

CLASSIFIER = "probabilities"  # name of the last layer

# The shorter side in pixels from which an automatic stem halves an image once, and from which twice.
HALVED_FROM, QUARTERED_FROM = 48, 128


def image_input(shape: Shape) -> keras.KerasTensor:
    """Return the input of every model: ``(n, h, w, c)`` float32 in [0, 1]."""
    return keras.Input(shape, name="image")


def standardise(images: keras.KerasTensor, pixels: PixelStatistics) -> keras.KerasTensor:
    """Scale each channel of ``(n, h, w, c)`` in [0, 1] to mean 0 and standard deviation 1 over the training images.

    A channel that has the same value in every training image is only centred.
    """
    scale = [1 / deviation if deviation else 1.0 for deviation in pixels.deviation]
    offset = [-mean * factor for mean, factor in zip(pixels.mean, scale, strict=True)]
    if len(scale) == 1:
        return keras.layers.Rescaling(scale[0], offset=offset[0], name="standardise")(images)
    return keras.layers.Rescaling(scale, offset=offset, name="standardise")(images)


def pad_to(images: keras.KerasTensor, side: int) -> keras.KerasTensor:
    """Pad images ``(n, h, w, c)`` with zeros to at least this many pixels a side."""
    missing = [max(0, side - size) for size in images.shape[1:3]]
    if not any(missing):
        return images
    return keras.layers.ZeroPadding2D([(total // 2, total - total // 2) for total in missing], name="pad")(images)


def grey_to_rgb(images: keras.KerasTensor) -> keras.KerasTensor:
    """Return images ``(n, h, w, 3)``; a single channel is repeated three times."""
    if images.shape[-1] == 3:
        return images
    return keras.layers.Concatenate(name="grey_to_rgb")([images] * 3)


def stem_stride_for(shape: Shape, stride: StemStride) -> Literal[1, 2, 4]:
    """Return the stride of a stem, chosen by the image's shorter side where it is ``"auto"``.

    1 below 48 pixels, 2 below 128 and 4 from there on, as in networks for ImageNet: the first stage, the costliest per
    filter, then works on maps of 24 to 63 pixels up to images of 255.
    """
    if stride != "auto":
        return stride
    side = min(shape[:2])
    return 1 if side < HALVED_FROM else 2 if side < QUARTERED_FROM else 4


def pool_stem(x: keras.KerasTensor, stride: Literal[1, 2, 4]) -> keras.KerasTensor:
    """Halve the maps of a stem of stride 4, whose convolution has stride 2, by max pooling (He et al., 2016)."""
    if stride < 4:
        return x
    return keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)


def convolution(
    inputs: keras.KerasTensor,
    filters: int,
    kernel: int,
    stride: int,
    name: str,
    initializer: str | keras.Initializer = "he_normal",
) -> keras.KerasTensor:
    """Convolve ``(n, h, w, c)`` without a bias, which batch normalisation makes redundant.

    Args:
        inputs: The maps.
        filters: Channels of the result.
        kernel: Pixels a side of the kernel.
        stride: Pixels from one output to the next.
        name: Of the layer, before ``_conv``.
        initializer: Of the weights; not one that another layer has, which would get equal weights.
    """
    return keras.layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer=initializer,
        name=f"{name}_conv",
    )(inputs)


def class_probabilities(features: keras.KerasTensor, classes: int, dropout: float = 0.0) -> keras.KerasTensor:
    """Return ``(n, classes)`` softmax probabilities of ``(n, d)`` features, in float32 at any precision.

    Args:
        features: The input of the last layer.
        classes: Number of classes.
        dropout: Share of the features that is dropped in training.
    """
    if dropout:
        features = keras.layers.Dropout(dropout, name="dropout")(features)
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name=CLASSIFIER)(features)


def last_dense(model: keras.Model) -> tuple[keras.layers.Dense, keras.KerasTensor] | None:
    """Return the dense layer that a model ends in and its input; None for a model that ends in another layer."""
    last = call_that_made(model.outputs[0])
    if not isinstance(last.operation, keras.layers.Dense):
        return None
    return last.operation, last.inputs[0]
