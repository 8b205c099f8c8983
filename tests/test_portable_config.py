"""The configuration in a saved model: what inference needs, and nothing that an older Keras refuses."""

import json
import zipfile

import keras
import numpy as np
import pytest

from fashion import artifact
from fashion.portable_config import nodes

pytestmark = pytest.mark.backend


@pytest.fixture
def model() -> keras.Model:
    """All that only training reads, in a nested model too; an operation; a layer of another precision."""
    layers = keras.layers
    convolution = layers.Conv2D(
        2, 3, kernel_initializer="he_normal", kernel_regularizer="l2", kernel_constraint="max_norm", name="convolution"
    )
    normalisation = layers.BatchNormalization(momentum=0.5, beta_regularizer="l1", name="normalisation")
    nested = keras.Sequential([keras.Input((28, 28, 1)), convolution, normalisation], name="nested")
    images = keras.Input((28, 28, 1), name="image")
    x = keras.ops.flip(layers.Rescaling(2.0, name="scaled")(images), axis=2)
    x = layers.Activation("relu", dtype="mixed_bfloat16", name="narrow")(nested(x))
    return keras.Model(images, layers.Dense(3, activation="softmax", name="last")(layers.Flatten(name="flat")(x)))


def test_the_file_has_what_inference_needs_alone_and_computes_the_same(model, tmp_path):
    artifact.save_model(model, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        config = json.loads(archive.read("config.json"))
    entries = [node for node in nodes(config) if "inbound_nodes" in node]
    configs = {node["name"]: node["config"] for node in entries}
    configs |= {layer["config"]["name"]: layer["config"] for layer in configs["nested"]["layers"]}
    assert [node["config"] for node in entries if node["class_name"] == "Flip"] == [{"axis": 2}]
    assert configs["last"] == {
        "name": "last", "trainable": True, "dtype": "float32", "units": 3, "activation": "softmax",
    }  # fmt: skip
    assert configs["normalisation"] == {
        "name": "normalisation", "trainable": True, "dtype": "float32", "momentum": 0.5,
    }  # fmt: skip
    assert configs["scaled"] == {"name": "scaled", "trainable": True, "dtype": "float32", "scale": 2.0, "offset": 0.0}
    assert configs["narrow"]["dtype"] == "mixed_bfloat16"
    assert configs["convolution"]["data_format"] == "channels_last"
    assert not [word for word in ("_initializer", "_regularizer", "_constraint") if word in json.dumps(config)]
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True))
    assert np.array_equal(*(keras.ops.convert_to_numpy(each(images, training=False)) for each in (loaded, model)))
