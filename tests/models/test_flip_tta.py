"""Flip averaging: known answers, its cost, and the features that abstention reads."""

import keras
import numpy as np
import pytest
from networks import GREY_28

from fashion import artifact
from fashion.card import Card, SplitScores
from fashion.errors import FashionError
from fashion.evaluation.cost import network_cost
from fashion.inference.features import feature_tensors
from fashion.inference.predictor import Predictor
from fashion.models.flip_tta import flip_averaged
from fashion.models.resnet import resnet

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return resnet(4, 2, [4, 8], 1, 0.9, 0.0, **GREY_28)


def computed(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def test_probabilities_are_the_normalised_geometric_mean_of_both_and_survive_the_file(model, tmp_path):
    images = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    straight, mirrored = computed(model, images), computed(model, images[:, :, ::-1])
    expected = np.sqrt(straight * mirrored)
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.abs(straight - mirrored).max() > 1e-3

    both = flip_averaged(model)
    assert np.allclose(computed(both, images), expected, atol=1e-6)
    assert np.allclose(Predictor(both).probabilities(images), expected, atol=1e-6)
    card = Card(classes=list("abcdefghij"), seed=0, backend="jax", test=SplitScores(accuracy=0.1, images=10), config={})
    loaded = artifact.load(artifact.save(both, card, tmp_path)).model
    assert np.allclose(computed(loaded, images), expected, atol=1e-6)


def test_it_doubles_the_arithmetic_and_adds_no_parameter(model):
    both = flip_averaged(model)
    once, twice = network_cost(model), network_cost(both)
    assert twice.parameters == once.parameters
    last = 8 * 10
    assert twice.multiply_adds - last == 2 * (once.multiply_adds - last)


def test_abstention_reads_the_averaged_features_and_the_maps_of_the_original_image(model):
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    of_one, of_both = (
        Predictor(each, features=True).outputs(images).features for each in (model, flip_averaged(model))
    )
    mirrored = Predictor(model, features=True).outputs(images[:, :, ::-1]).features
    assert np.allclose(of_both[0], (of_one[0] + mirrored[0]) / 2, atol=1e-5)
    assert np.allclose(of_both[1], of_one[1], atol=1e-5)
    assert len(feature_tensors(flip_averaged(model))) == 2


def test_a_model_that_does_not_end_in_a_dense_layer_is_refused():
    images = keras.Input((28, 28, 1))
    model = keras.Model(images, keras.layers.Softmax()(keras.layers.Flatten()(images)))
    with pytest.raises(FashionError, match=r"trainer\.flip_average: got a model that does not end in a dense layer"):
        flip_averaged(model)
