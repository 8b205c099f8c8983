"""EfficientNet-Lite, trained on ImageNet or from scratch: EfficientNet without what small devices compute slowly.

By its authors (tensorflow/tpu, ``efficientnet/lite``): no squeeze-and-excitation, relu6 in place of silu, and a stem
and a head that do not grow with the network.
"""

from typing import Annotated

import keras
from pydantic import Field, PositiveInt

from fashion.data.dataset import PixelStatistics
from fashion.models.blocks import Shape, class_probabilities, grey_to_rgb, image_input, pad_to
from fashion.models.efficientnet import Variant, pooled_features
from fashion.models.lite_weights import LiteVersion, LiteWeights, load_weights

Rate = Annotated[float, Field(ge=0, lt=1)]

SCALES = {0: (1.0, 1.0), 2: (1.1, 1.2)}  # by version: of the filters and of the repeats of a stage


def efficientnet_lite(
    version: LiteVersion,
    weights: LiteWeights,
    min_image_size: PositiveInt,
    batch_norm_momentum: Rate,
    drop_connect_rate: Rate,
    dropout: Rate,
    *,
    input_shape: Shape,
    classes: int,
    pixels: PixelStatistics,
) -> keras.Model:
    """Build an EfficientNet-Lite with global average pooling and softmax.

    Args:
        version: 0 or 2, with 3.4 and 4.8 million parameters below the last layer, made for images of 224 and 260
            pixels.
        weights: Of all layers but the last: ``"imagenet"``, a file in PyTorch's legacy format, or None for random ones.
        min_image_size: Smaller images are padded to this many pixels a side.
        batch_norm_momentum: Share of the moving statistics kept at each step.
        drop_connect_rate: Probability of dropping the last residual block; it grows linearly from 0 at the first.
        dropout: Share of features dropped before the softmax layer.
        input_shape: Height, width and channels of an image.
        classes: Number of classes.
        pixels: Not used: the network scales pixels as it did when it was trained on ImageNet.

    Returns:
        A model from ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities. Its layer ``pool`` returns
        features ``(n, 1280)``; ``probabilities`` is its last layer.
    """
    trunk = backbone(
        input_shape,
        weights,
        version=version,
        min_image_size=min_image_size,
        batch_norm_momentum=batch_norm_momentum,
        drop_connect_rate=drop_connect_rate,
    )
    return keras.Model(
        trunk.input, class_probabilities(trunk.output, classes, dropout), name=f"efficientnet_lite{version}"
    )


def backbone(
    input_shape: Shape,
    weights: str | None = "imagenet",
    *,
    version: LiteVersion = 0,
    min_image_size: int = 32,
    batch_norm_momentum: float = 0.9,
    drop_connect_rate: float = 0.0,
) -> keras.Model:
    """Build the network up to its pooled features; for the arguments, see ``efficientnet_lite``.

    Returns:
        A model from ``(n, h, w, c)`` float32 in [0, 1] to ``(n, 1280)`` features, the output of its layer ``pool``.

    Raises:
        InputError: The weights are not available, or not those of this network.
    """
    images = image_input(input_shape)
    x = keras.layers.Rescaling(255 / 128, offset=-127 / 128, name="scale")(images)
    x = pad_to(grey_to_rgb(x), min_image_size)
    variant = Variant("relu6", False, drop_connect_rate, batch_norm_momentum, *SCALES[version])
    trunk = keras.Model(images, pooled_features(x, variant), name=f"efficientnet_lite{version}_backbone")
    if weights is not None:
        load_weights(trunk, weights, version)
    return trunk
