"""The model that comes with the project does what its card says, and is there when nothing else is."""

import numpy as np
import pytest

from fashion import paths
from fashion.data.fashion_mnist import fashion_mnist
from fashion.inference.predictor import Predictor
from fashion.paths import PRETRAINED, default_model

pytestmark = pytest.mark.backend


@pytest.mark.slow
def test_its_card_tells_the_accuracy_that_it_has(fashion_mnist_root):
    predictor, loaded = Predictor.load(PRETRAINED)
    data = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    right = predictor.probabilities(data.test_images).argmax(axis=1) == data.test_labels
    # Two images in ten thousand may change sides with the order in which a backend adds up.
    assert np.mean(right) == pytest.approx(loaded.card.test.accuracy, abs=2.5e-4)
    assert loaded.card.test.images == len(data.test_labels)
    assert loaded.card.data == data.digests


def test_it_is_small():
    assert sum(file.stat().st_size for file in PRETRAINED.iterdir()) < 2**20
    assert Predictor.load(PRETRAINED)[1].card.parameters < 100_000


def test_what_was_trained_last_goes_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path)
    assert default_model() == PRETRAINED
    (tmp_path / "run").mkdir()
    (tmp_path / "latest").symlink_to("run")
    assert default_model() == tmp_path / "latest"
