"""Averaging over views: known answers, its cost, and the features that abstention reads."""

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
from fashion.models.resnet import resnet
from fashion.models.view_average import view_averaged

pytestmark = pytest.mark.backend

WAYS = [(True, False), (False, True), (True, True)]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return resnet(4, 2, [4, 8], 1, 0.9, 0.0, **GREY_28)


def computed(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def views(images: np.ndarray, flip: bool, shift: bool) -> list[np.ndarray]:
    """The images first, each view as NumPy makes it."""
    made = [images]
    if shift:
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        made += [padded[:, y : y + 28, x : x + 28] for y, x in ((0, 1), (2, 1), (1, 0), (1, 2))]
    return made + [view[:, :, ::-1] for view in made] if flip else made


@pytest.mark.parametrize(("flip", "shift"), WAYS)
def test_probabilities_are_the_normalised_geometric_mean_and_survive_the_file(model, tmp_path, flip, shift):
    images = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    of_views = [computed(model, view) for view in views(images, flip, shift)]
    expected = np.exp(np.mean(np.log(of_views), axis=0))
    expected /= expected.sum(axis=1, keepdims=True)
    assert all(np.abs(of_views[0] - other).max() > 1e-4 for other in of_views[1:])

    averaged = view_averaged(model, flip=flip, shift=shift)
    assert np.allclose(computed(averaged, images), expected, atol=1e-6)
    assert np.allclose(Predictor(averaged).probabilities(images), expected, atol=1e-6)
    scores = SplitScores(accuracy=0.1, images=10)
    card = Card(classes=list("abcdefghij"), seed=0, backend="jax", test=scores, config={})
    loaded = artifact.load(artifact.save(averaged, card, tmp_path)).model
    assert np.allclose(computed(loaded, images), expected, atol=1e-6)


@pytest.mark.parametrize(("flip", "shift"), WAYS)
def test_the_arithmetic_grows_with_the_views_and_no_parameter_is_added(model, flip, shift):
    once, averaged = network_cost(model), network_cost(view_averaged(model, flip=flip, shift=shift))
    assert averaged.parameters == once.parameters
    last = 8 * 10
    assert averaged.multiply_adds - last == (1 + flip) * (1 + 4 * shift) * (once.multiply_adds - last)


@pytest.mark.parametrize(("flip", "shift"), WAYS)
def test_abstention_reads_the_averaged_features_and_the_maps_of_the_original_image(model, flip, shift):
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    averaged = view_averaged(model, flip=flip, shift=shift)
    found = Predictor(averaged, features=True).outputs(images).features
    of_views = [Predictor(model, features=True).outputs(view).features for view in views(images, flip, shift)]
    assert np.allclose(found[0], np.mean([features[0] for features in of_views], axis=0), atol=1e-5)
    assert np.allclose(found[1], of_views[0][1], atol=1e-5)
    assert len(feature_tensors(averaged)) == 2


@pytest.mark.parametrize(("flip", "key"), [(True, "flip_average"), (False, "shift_average")])
def test_a_model_that_does_not_end_in_a_dense_layer_is_refused(flip, key):
    images = keras.Input((28, 28, 1))
    model = keras.Model(images, keras.layers.Softmax()(keras.layers.Flatten()(images)))
    with pytest.raises(FashionError, match=rf"trainer\.{key}: got a model that does not end in a dense layer"):
        view_averaged(model, flip=flip, shift=True)
