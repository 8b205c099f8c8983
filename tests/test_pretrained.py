"""The model that comes with the project has the accuracy of its card, and is used until there is another."""

import numpy as np
import pytest

from fashion import paths
from fashion.data.fashion_mnist import fashion_mnist
from fashion.inference.predictor import Predictor
from fashion.paths import PRETRAINED, default_model

pytestmark = pytest.mark.backend


@pytest.mark.slow
def test_it_has_the_accuracy_of_its_card(fashion_mnist_root):
    predictor, loaded = Predictor.load(PRETRAINED)
    data = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    right = predictor.probabilities(data.test.images).argmax(axis=1) == data.test.labels
    # Two images in ten thousand may change class with the order in which a backend sums.
    assert np.mean(right) == pytest.approx(loaded.card.test.accuracy, abs=2.5e-4)
    assert loaded.card.test.images == len(data.test)
    assert loaded.card.data.digests == data.digests


def test_it_is_small():
    assert sum(file.stat().st_size for file in PRETRAINED.iterdir()) < 2**20
    assert Predictor.load(PRETRAINED)[1].card.parameters < 100_000


def test_the_newest_run_is_preferred_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path)
    assert default_model() == PRETRAINED
    (tmp_path / "run").mkdir()
    (tmp_path / "latest").symlink_to("run")
    assert default_model() == tmp_path / "latest"
