"""Known answers of the loss."""

import numpy as np
import pytest
from keras import ops

from fashion.training.network import cross_entropy

pytestmark = pytest.mark.backend


def test_smoothing_gives_every_class_some_probability():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    labels = np.array([0, 1])
    logs = -np.log(probabilities)
    expected = 0.9 * logs[[0, 1], labels] + 0.1 * logs.mean(axis=1)
    assert ops.convert_to_numpy(cross_entropy(0.1)(labels, ops.convert_to_tensor(probabilities))) == pytest.approx(
        expected, rel=1e-5
    )


def test_without_smoothing_the_loss_is_keras_own():
    assert cross_entropy(0.0) == "sparse_categorical_crossentropy"
