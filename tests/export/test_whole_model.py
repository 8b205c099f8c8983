"""Calibration and abstention as part of a graph: the numbers of ``fashion.uncertainty``, in TensorFlow."""

import numpy as np
import pytest

from fashion.uncertainty.abstention import Abstention, MahalanobisDistance
from fashion.uncertainty.photo_ood import PhotoOodScore
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty

pytestmark = pytest.mark.backend
CLASSES, FEATURES = 3, (6, 4)


@pytest.fixture(autouse=True)
def _on_tensorflow(keras_backend):
    if keras_backend != "tensorflow":
        pytest.skip("the converters read a function of TensorFlow")


def some_outputs(count: int) -> Outputs:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.3] * CLASSES, count).astype(np.float32)
    features = tuple(random.normal(0, 2, (count, size)).astype(np.float32) for size in FEATURES)
    return Outputs(probabilities, features)


def abstention() -> Abstention:
    random = np.random.default_rng(1)

    def numbers(*shape: int) -> np.ndarray:
        return random.normal(0, 1, shape).astype(np.float16).astype(np.float32)

    return Abstention(
        tuple(
            MahalanobisDistance(numbers(size), numbers(size, 4), numbers(CLASSES, 4), index == 0, 0.5, 0.8)
            for index, size in enumerate(FEATURES)
        ),
        threshold=1.0,
    )


def computed(uncertainty: PosthocUncertainty, outputs: Outputs) -> dict[str, np.ndarray]:
    import tensorflow as tf

    from fashion.export.whole_model import posthoc

    tensors = posthoc(uncertainty, tf.constant(outputs.probabilities), [tf.constant(each) for each in outputs.features])
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def test_a_model_for_photos_has_four_outputs():
    photo_ood = PhotoOodScore(np.random.default_rng(2).normal(0, 1, CLASSES + 1 + 2 + FEATURES[0]), 0.25, 0.5)
    uncertainty = PosthocUncertainty(1.7, abstention(), photo_ood, np.array([1, 2, 0.5], np.float32))
    outputs = some_outputs(500)
    expected, found = uncertainty.prediction(outputs), computed(uncertainty, outputs)
    assert found.keys() == {"probabilities", "score", "photo_probabilities", "photo_score"}
    assert np.allclose(found["probabilities"], expected.probabilities, atol=1e-6)
    assert np.allclose(found["photo_probabilities"], expected.photo_probabilities, atol=1e-6)
    assert np.allclose(found["score"], expected.scores, atol=1e-4)
    assert np.allclose(found["photo_score"], expected.photo_scores, atol=1e-4)
    assert not np.allclose(found["score"], found["photo_score"], atol=0.1)


def test_without_abstention_there_is_one_output():
    outputs = some_outputs(5)
    found = computed(PosthocUncertainty(), outputs)
    assert found.keys() == {"probabilities"}
    assert np.array_equal(found["probabilities"], outputs.probabilities)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.5, 20.0])
def test_the_most_probable_class_stays_the_first_where_rounding_makes_two_equal(temperature):
    largest = np.float32(0.4)
    below = np.nextafter(largest, np.float32(0))
    rows = np.array([[below, largest, 0.2], [largest, largest, 0.2], [0, 1, 0], [0.2, below, largest]], np.float32)
    uncertainty = PosthocUncertainty(temperature)
    found = computed(uncertainty, Outputs(rows))["probabilities"]
    assert found.argmax(axis=1).tolist() == rows.argmax(axis=1).tolist() == [1, 0, 1, 2]
    assert np.allclose(found, uncertainty.prediction(Outputs(rows)).probabilities, atol=1e-6)
    assert found.dtype == np.float32
