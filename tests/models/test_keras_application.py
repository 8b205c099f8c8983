"""Networks of keras.applications: their preprocessing, weights from files without a network, and messages."""

import sys
import urllib.error
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from networks import images_of

from fashion import artifact
from fashion.config.build import build
from fashion.config.schema import check_target
from fashion.errors import InputError
from fashion.inference.predictor import compiled
from fashion.models.blocks import image_input, last_dense
from fashion.models.keras_application import applications, backbone, preprocessed

CODE_ADDS = ("input_shape", "classes", "pixels")
SETTINGS = {
    "_target_": "fashion.models.keras_application.keras_application", "name": "MobileNetV3Small", "weights": None,
    "min_image_size": 32, "dropout": 0.2,
}  # fmt: skip
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Not the largest of each family: one network for each preprocessing function.
FAMILIES = sorted({function.__module__: name for name, function in sorted(applications().items())}.values())


def computed(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(compiled(model)(images.astype(np.float32)))


def pixels(side: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.float32)


def test_every_classification_network_of_keras_is_known():
    assert len(applications()) == 40
    assert len(FAMILIES) == 15
    assert {"MobileNetV3Small", "ConvNeXtTiny", "EfficientNetV2B0", "NASNetLarge", "VGG16"} <= applications().keys()


@pytest.mark.backend
@pytest.mark.parametrize("name", FAMILIES)
def test_the_preprocessing_is_that_of_the_family(name):
    function, images = applications()[name], image_input((5, 4, 3))
    model = keras.Model(images, preprocessed(function, images))
    values = pixels(5)[:, :, :4]
    expected = sys.modules[function.__module__].preprocess_input(values.copy())
    assert np.ptp(expected) > 1.5
    assert np.allclose(computed(model, values / 255), expected, atol=1e-6 * np.abs(expected).max())


def plain_network(name: str, side: int) -> keras.Model:
    """A network as Keras builds it, with statistics and offsets that are not those of the beginning."""
    network = applications()[name](include_top=False, weights=None, input_shape=(side, side, 3), pooling="avg")
    random = np.random.default_rng(0)
    for variable in network.weights:
        if variable.name in ("moving_variance", "gamma"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("moving_mean", "beta", "bias"):
            variable.assign(random.normal(0, 0.1, variable.shape))
    return network


@pytest.fixture(scope="module")
def mobilenet() -> keras.Model:
    return plain_network("MobileNetV3Small", 32)


@pytest.mark.parametrize("file", ["own.weights.h5", "own.h5"])
def test_a_file_has_the_weights_of_the_backbone(mobilenet, file, tmp_path):
    path = tmp_path / file
    mobilenet.save_weights(path) if file.endswith("weights.h5") else mobilenet.save(path)
    network = build({**SETTINGS, "weights": str(path)}, **images_of(32, 3, classes=4))
    dense, _ = last_dense(network)
    assert (network.output_shape, dense.name) == ((None, 4), "probabilities")
    trunk = keras.Model(network.input, network.get_layer("pool").output)
    assert trunk.output_shape == (None, 576)
    for found, expected in zip(trunk.get_weights(), mobilenet.get_weights(), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.backend
def test_reversed_channels_are_in_the_file_that_plain_keras_loads(tmp_path):
    reference = plain_network("VGG16", 32)
    reference.save_weights(tmp_path / "own.weights.h5")
    artifact.save_model(backbone("VGG16", (32, 32, 3), str(tmp_path / "own.weights.h5")), tmp_path / "own.keras")
    loaded = keras.saving.load_model(tmp_path / "own.keras", safe_mode=True)
    expected = computed(reference, keras.applications.vgg16.preprocess_input(pixels(32)))
    assert np.ptp(expected) > 0.1
    assert np.allclose(computed(loaded, pixels(32) / 255), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.backend
def test_grey_and_small_images_are_made_what_the_network_takes(mobilenet, tmp_path):
    mobilenet.save_weights(tmp_path / "own.weights.h5")
    grey = pixels(28)[..., :1]
    padded = np.pad(grey, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=-1)
    trunk = backbone("MobileNetV3Small", (28, 28, 1), str(tmp_path / "own.weights.h5"))
    expected = computed(mobilenet, padded)  # it scales pixels of 0-255 itself
    assert np.ptp(expected) > 0.1
    assert np.allclose(computed(trunk, grey / 255), expected, atol=1e-5)


def published_efficientnet(path: Path) -> None:
    """A file as Keras publishes it, in which the deviations are where the normalisation has its variances."""
    network = applications()["EfficientNetB0"](include_top=False, weights=None, input_shape=(32, 32, 3))
    layer = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    layer.adapt_mean.assign(IMAGENET_MEAN)
    layer.adapt_variance.assign(IMAGENET_DEVIATION)
    network.save(path)


@pytest.mark.slow
def test_an_efficientnet_sees_the_same_pixels_from_a_file_and_from_a_download(monkeypatch, tmp_path):
    path = tmp_path / "efficientnetb0_notop.h5"
    published_efficientnet(path)
    module = sys.modules[keras.applications.EfficientNetB0.__module__]
    monkeypatch.setattr(module.file_utils, "get_file", lambda *arguments, **options: str(path))
    expected = (pixels(32) / 255 - IMAGENET_MEAN) / IMAGENET_DEVIATION
    for weights in ("imagenet", str(path)):
        trunk = backbone("EfficientNetB0", (32, 32, 3), weights)
        scaled = keras.Model(trunk.input, trunk.get_layer("stem_conv_pad").input)
        assert np.allclose(computed(scaled, pixels(32) / 255), expected, atol=1e-4)


def refused(**settings: Any) -> str:
    """What a user reads, before anything is written."""
    with pytest.raises(InputError) as error:
        check_target("model", {**SETTINGS, **settings}, CODE_ADDS)
    return str(error.value)


def test_unknown_names_and_files_are_refused_before_a_run_begins(tmp_path):
    check_target("model", {**SETTINGS, "weights": "imagenet"}, CODE_ADDS)
    assert refused(name="MobilenetV3small") == (
        "model.name: got MobilenetV3small, expected a network of keras.applications; "
        "did you mean MobileNetV3Small or MobileNetV3Large or MobileNetV2?"
    )
    assert refused(name="qqq").startswith("model.name: got qqq, expected a network of keras.applications, wh")
    assert refused(weights="imagnet") == (
        "model.weights: got imagnet, expected imagenet, null or a file; there is no such file"
    )
    (tmp_path / "own.pth").touch()
    assert refused(weights=str(tmp_path / "own.pth")).endswith(
        "own.pth, expected a file of Keras's: .h5, .hdf5, .keras"
    )


def test_without_a_network_the_message_has_the_address(monkeypatch, tmp_path):
    def unreachable(*arguments: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(InputError) as error:
        build({**SETTINGS, "weights": "imagenet"}, **images_of(32, 3))
    assert str(error.value) == (
        "model.weights: https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v3/"
        "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5 cannot be downloaded; download it on another machine, "
        "then set model.weights=FILE, or set model.weights=null"
    )


def test_files_of_other_weights_and_small_images_are_one_line(tmp_path):
    path = tmp_path / "own.h5"
    path.write_bytes(b"not HDF5")
    with pytest.raises(
        InputError, match=r"own\.h5: cannot be read as weights of MobileNetV3Small without its classifi"
    ):
        backbone("MobileNetV3Small", (32, 32, 3), str(path))
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.save(path)
    with pytest.raises(InputError, match="Layer count mismatch") as error:
        backbone("MobileNetV3Small", (32, 32, 3), str(path))
    assert str(error.value).endswith("; Keras publishes those as *_notop.h5 or *_no_top.h5")
    with pytest.raises(
        InputError, match=r"InceptionV3 cannot be made for images of 32 x 32 \(.+\); choose larger images"
    ):
        backbone("InceptionV3", (28, 28, 3), None)
