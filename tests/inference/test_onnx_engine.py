"""The exported file of the shipped model answers as Keras does, and is refused when it is of another model."""

import json
import shutil

import numpy as np
import pytest

from fashion.errors import FashionError
from fashion.exported import onnx_file
from fashion.inference.onnx_engine import OnnxEngine
from fashion.paths import PRETRAINED

NAME = "fashion_mnist_model"


@pytest.fixture(scope="module")
def engine() -> OnnxEngine:
    return OnnxEngine.load(PRETRAINED)[0]


@pytest.fixture
def copied(tmp_path):
    """A copy of the shipped model with its exported file."""
    for file in PRETRAINED.glob(f"{NAME}*"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_numbers_are_taken_in_either_form_and_any_quantity(engine):
    images = np.random.default_rng(0).integers(0, 256, (21, 28, 28, 1), np.uint8)
    together = engine.predict(images)
    assert together.probabilities.shape == (21, 10)
    assert together.probabilities.dtype == np.float32
    assert np.allclose(together.probabilities.sum(axis=1), 1, atol=1e-6)
    apart = [engine.predict(image[np.newaxis].astype(np.float32) / 255).probabilities[0] for image in images]
    assert np.allclose(together.probabilities, apart, atol=1e-6)


def test_without_an_exported_file_the_command_that_makes_it_is_named(copied):
    onnx_file(copied / f"{NAME}.keras").unlink()
    with pytest.raises(FashionError, match=r"model\.onnx: there is no such file; .*scripts/export\.py format=onnx"):
        OnnxEngine.load(copied)


def test_a_damaged_file_is_refused(copied):
    file = onnx_file(copied / f"{NAME}.keras")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FashionError, match="its SHA-256 is"):
        OnnxEngine.load(copied)


def test_an_export_from_before_the_model_was_calibrated_again_is_refused(copied):
    card = copied / f"{NAME}.json"
    content = json.loads(card.read_text())
    content["calibration"]["temperature"] *= 2
    card.write_text(json.dumps(content))
    with pytest.raises(FashionError, match="was made from another model"):
        OnnxEngine.load(copied)


def test_a_card_that_is_none_is_refused(copied):
    (copied / f"{NAME}.onnx.json").write_text("{}")
    with pytest.raises(FashionError, match="is not the card of an exported model"):
        OnnxEngine.load(copied)
