"""The model that comes with the project has the accuracy of its card, and is used until there is another."""

import numpy as np
import pytest

from fashion import paths
from fashion.data.fashion_mnist import fashion_mnist
from fashion.inference.onnx_engine import OnnxEngine
from fashion.inference.predictor import Predictor
from fashion.paths import PRETRAINED, default_model

pytestmark = pytest.mark.backend


@pytest.mark.slow
def test_it_has_the_accuracy_of_its_card_and_its_export_the_same_answers(fashion_mnist_root):
    predictor, loaded = Predictor.load(PRETRAINED)
    data = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    keras, onnx = predictor.predict(data.test.images), OnnxEngine.load(PRETRAINED)[0].predict(data.test.images)
    right = keras.probabilities.argmax(axis=1) == data.test.labels
    # Two images in ten thousand may change class with the order in which a backend sums.
    assert np.mean(right) == pytest.approx(loaded.card.test.accuracy, abs=2.5e-4)
    assert loaded.card.test.images == len(data.test)
    assert loaded.card.data.digests == data.digests

    assert (keras.probabilities.argmax(axis=1) == onnx.probabilities.argmax(axis=1)).all()
    assert np.abs(keras.probabilities - onnx.probabilities).max() < 1e-4
    accepted = [each.scores <= predictor.uncertainty.threshold for each in (keras, onnx)]
    assert (accepted[0] == accepted[1]).all()
    assert 0.9 < accepted[0].mean() < 1
    assert np.abs(keras.scores - onnx.scores).max() < 1e-3


def test_it_is_small():
    assert sum(file.stat().st_size for file in PRETRAINED.iterdir()) < 2**20
    assert Predictor.load(PRETRAINED)[1].card.parameters < 100_000


def test_the_newest_run_is_preferred_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path)
    assert default_model() == PRETRAINED
    (tmp_path / "run").mkdir()
    (tmp_path / "latest").symlink_to("run")
    assert default_model() == tmp_path / "latest"
