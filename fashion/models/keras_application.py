"""Any classification network of ``keras.applications``, with the preprocessing that it was trained with inside it."""

import difflib
import inspect
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
from pydantic import AfterValidator, Field, PositiveInt

from fashion.data.dataset import PixelStatistics
from fashion.errors import InputError
from fashion.files import waiting_lock
from fashion.models.blocks import Shape, class_probabilities, grey_to_rgb, image_input, pad_to
from fashion.paths import cache_folder

WEIGHT_SUFFIXES = (".h5", ".hdf5", ".keras")
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def applications() -> dict[str, Callable[..., keras.Model]]:
    """Return the function that builds each network of ``keras.applications``, by name."""
    found = {name: each for name, each in vars(keras.applications).items() if inspect.isfunction(each)}
    return {name: each for name, each in found.items() if "include_top" in inspect.signature(each).parameters}


def _check_name(name: str) -> str:
    names = {each.lower(): each for each in applications()}
    if name not in names.values():
        close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(names[each] for each in close)}?" if close else ""
        known = "" if close else f", which has {', '.join(sorted(names.values()))}"
        raise InputError(f"model.name: got {name}, expected a network of keras.applications{known}{hint}")
    return name


def _check_weights(weights: str | None) -> str | None:
    if weights is None or weights == "imagenet":
        return weights
    if not Path(weights).expanduser().is_file():
        raise InputError(f"model.weights: got {weights}, expected imagenet, null or a file; there is no such file")
    if not weights.endswith(WEIGHT_SUFFIXES):
        raise InputError(f"model.weights: got {weights}, expected a file of Keras's: {', '.join(WEIGHT_SUFFIXES)}")
    return weights


ApplicationName = Annotated[str, AfterValidator(_check_name)]
ApplicationWeights = Annotated[str | None, AfterValidator(_check_weights)]


def keras_application(
    name: ApplicationName,
    weights: ApplicationWeights,
    min_image_size: PositiveInt,
    dropout: Annotated[float, Field(ge=0, lt=1)],
    *,
    input_shape: Shape,
    classes: int,
    pixels: PixelStatistics,
) -> keras.Model:
    """Build a network of ``keras.applications`` with global average pooling and softmax.

    Args:
        name: As in ``keras.applications``, such as ``"MobileNetV3Small"``.
        weights: Of all layers but the last: ``"imagenet"``, which Keras downloads once; a file that Keras wrote or
            publishes of the network without its classifier; or None for random ones.
        min_image_size: Smaller images are padded with zeros to this many pixels a side.
        dropout: Share of features dropped before the softmax layer.
        input_shape: Height, width and channels of an image.
        classes: Number of classes.
        pixels: Not used: the network scales pixels as it did when it was trained on ImageNet.

    Returns:
        A model from ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities. Its layer ``pool`` returns
        the features; ``probabilities`` is its last layer.
    """
    trunk = backbone(name, input_shape, weights, min_image_size=min_image_size)
    return keras.Model(trunk.input, class_probabilities(trunk.output, classes, dropout), name=_model_name(name))


def backbone(
    name: str, input_shape: Shape, weights: str | None = "imagenet", *, min_image_size: int = 32
) -> keras.Model:
    """Build a network up to its pooled features; for the arguments, see ``keras_application``.

    Returns:
        A model from ``(n, h, w, c)`` float32 in [0, 1] to features ``(n, d)``, the output of its layer ``pool``.

    Raises:
        InputError: The images are too small for the network, or the weights not available or not those of it.
    """
    build = applications()[_check_name(name)]
    images = image_input(input_shape)
    x = preprocessed(build, grey_to_rgb(pad_to(images, min_image_size)))
    if weights is None or weights == "imagenet":
        network = _built(build, x, weights)
    else:
        network = _built(build, x, None)
        _load(network, name, Path(weights).expanduser())
    # ConvNeXt normalises after pooling, and each family has its own name for the layer.
    features = keras.layers.Identity(name="pool")(network.output)
    return keras.Model(images, features, name=f"{_model_name(name)}_backbone")


def preprocessed(build: Callable[..., keras.Model], images: keras.KerasTensor) -> keras.KerasTensor:
    """Return what a network expects as its input of ``(n, h, w, 3)`` in [0, 1].

    The ``preprocess_input`` beside each network multiplies each channel and adds to it, and in some families reverses
    the channels. Applied to black and to each primary colour, it shows with what.
    """
    preprocess = sys.modules[build.__module__].preprocess_input
    black = preprocess(np.zeros((1, 3)))
    slopes = preprocess(255 * np.eye(3)) - black  # row: channel of the image, column: channel of the result
    reverse = slopes[0, 0] == 0
    order = [2, 1, 0] if reverse else [0, 1, 2]
    scale, offset = slopes[[0, 1, 2], order].tolist(), black[0, order].tolist()
    if len({*scale}) == len({*offset}) == 1:
        scale, offset = scale[0], offset[0]
    x = keras.layers.Rescaling(scale, offset=offset, name="scale")(images)
    return keras.ops.flip(x, axis=-1) if reverse else x


def _built(build: Callable[..., keras.Model], x: keras.KerasTensor, weights: str | None) -> keras.Model:
    """Call a builder of Keras's on preprocessed images."""
    name = build.__name__
    with waiting_lock(cache_folder() / "keras" / ".weights.lock"), warnings.catch_warnings():
        # That ImageNet weights are those of another image size, which makes no difference before the classifier.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return build(include_top=False, weights=weights, input_tensor=x, pooling="avg")
        except ValueError as error:
            height, width = x.shape[1:3]
            raise InputError(
                f"model.name: {name} cannot be made for images of {height} x {width} ({_first_sentence(error)}); "
                "choose larger images, or pad them with model.min_image_size"
            ) from error
        except Exception as error:
            address = re.match(r"URL fetch failure on (https://\S+): ", str(error))  # Keras raises no more specific one
            if not address:
                raise
            raise InputError(
                f"model.weights: {address[1]} cannot be downloaded; download it on another machine, "
                "then set model.weights=FILE, or set model.weights=null"
            ) from error


def _load(network: keras.Model, name: str, path: Path) -> None:
    try:
        network.load_weights(path)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as weights of {name} without its classifier ({_first_sentence(error)}); "
            "Keras publishes those as *_notop.h5 or *_no_top.h5"
        ) from error
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:  # it has weights
            _correct_variance(layer)


def _correct_variance(layer: keras.layers.Normalization) -> None:
    """Make an EfficientNet of Keras divide by the standard deviation.

    The published files have that deviation in the place of the variance. Keras adds a layer which corrects this, but
    only if it downloads the file itself (``weights="imagenet"``).
    """
    deviation = np.reshape(keras.ops.convert_to_numpy(layer.adapt_variance), -1)
    if np.allclose(deviation, IMAGENET_DEVIATION, atol=1e-4):
        layer.adapt_variance.assign(np.square(deviation))
        layer.finalize_state()


def _first_sentence(error: Exception) -> str:
    return re.split(r"(?<=\w)[.;]?\s*\n|(?<=\w)\.\s+", str(error).strip(), maxsplit=1)[0]


def _model_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
