import json

import keras
import numpy as np
import pytest
from data_sets import fashion_like
from sklearn.covariance import EmpiricalCovariance

from fashion.card import Card, SplitScores
from fashion.data.dataset import Split
from fashion.inference.features import feature_tensors
from fashion.inference.predictor import Predictor
from fashion.uncertainty.abstention import Abstention
from fashion.uncertainty.fitting import (
    ACCEPTED,
    MAX_AXES,
    add_to_card,
    fit_abstention,
    fit_distance,
    fit_temperature,
    fit_uncertainty,
)
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty

CARD = Card(classes=["a", "b", "c"], seed=0, backend="jax", test=SplitScores(accuracy=0.1, images=10), config={})
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 3_000)
MIX = RANDOM.normal(size=(6, 6))
FEATURES = (RANDOM.normal(size=(3, 6))[LABELS] * 3 + RANDOM.normal(size=(3_000, 6)) @ MIX).astype(np.float32)
UNSEEN = (RANDOM.normal(size=(400, 6)) * 8).astype(np.float32)


def test_the_distance_is_mahalanobis_with_a_shared_covariance():
    means = np.stack([FEATURES[number == LABELS].mean(axis=0) for number in range(3)])
    shared = EmpiricalCovariance(assume_centered=True).fit(FEATURES - means[LABELS])
    expected = np.log(np.min([shared.mahalanobis(UNSEEN - mean) for mean in means], axis=0))
    fitted = fit_distance(FEATURES, LABELS, normalize=False).log_distances(UNSEEN)
    offset = expected - fitted  # a constant: the scale of the axes is free
    assert offset.std() < 0.01


def test_a_dead_feature_and_many_features_give_finite_distances():
    wide = RANDOM.normal(size=(500, MAX_AXES + 40)).astype(np.float32)
    wide[:, 0] = 0
    distance = fit_distance(wide, RANDOM.integers(0, 3, 500), normalize=True)
    assert distance.whitening.shape == (MAX_AXES + 40, MAX_AXES)
    assert np.isfinite(distance.whitening).all()
    assert np.isfinite(distance.log_distances(wide)).all()


def test_the_threshold_accepts_95_percent_of_validation():
    fitted = fit_abstention((FEATURES[:2000], FEATURES[:2000]), LABELS[:2000], (FEATURES[2000:], FEATURES[2000:]))
    scores = fitted.scores((FEATURES[2000:], FEATURES[2000:]))
    assert np.mean(scores <= fitted.threshold) == pytest.approx(ACCEPTED, abs=0.002)
    assert scores.mean() == pytest.approx(0, abs=1e-3)
    far = np.full((1, 6), 100, np.float32)
    assert fitted.scores((far, -far)) > fitted.threshold


def test_what_was_fitted_survives_the_card():
    fitted = fit_abstention((FEATURES,), LABELS, (FEATURES,))
    validation = Outputs(RANDOM.dirichlet(np.ones(3), 3_000).astype(np.float32), (FEATURES,))
    uncertainty = PosthocUncertainty(1.5, fitted)
    card = add_to_card(CARD, uncertainty, LABELS, validation)
    read = PosthocUncertainty.from_card(Card.model_validate(json.loads(json.dumps(card.to_json()))))
    for one, other in zip(uncertainty.prediction(validation), read.prediction(validation), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.backend
def test_features_are_the_input_of_the_last_layer_and_the_narrowest_maps():
    images = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same")(images)
    narrow = keras.layers.Conv2D(4, 1)(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(keras.layers.Conv2D(9, 1)(narrow))
    last = keras.layers.Flatten()(x)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(last))
    assert [tensor.shape[1:] for tensor in feature_tensors(model)] == [(7 * 7 * 8,), (4 + 8,)]
    pixels = RANDOM.integers(0, 256, (3, 28, 28, 1), np.uint8)
    with_features, without = Predictor(model, features=True).outputs(pixels), Predictor(model).outputs(pixels)
    assert np.allclose(with_features.probabilities, without.probabilities, atol=1e-6)
    assert not without.features
    parts = keras.Model(images, [last, narrow, x])(pixels[..., None].astype(np.float32) / 255)
    last_values, narrow_values, x_values = (keras.ops.convert_to_numpy(part) for part in parts)
    assert np.allclose(with_features.features[0], last_values, atol=1e-5)
    means = np.concatenate([narrow_values.mean(axis=(1, 2)), x_values.mean(axis=(1, 2))], axis=1)
    assert np.allclose(with_features.features[1], means, atol=1e-5)


def test_a_network_that_does_not_end_in_a_dense_layer_has_no_features():
    images = keras.Input((28, 28, 1))
    assert feature_tensors(keras.Model(images, keras.layers.Flatten()(images))) == []


def test_a_last_layer_on_the_flattened_map_of_a_large_image_has_too_many_features():
    images = keras.Input((64, 65, 1))
    model = keras.Model(images, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(images)))
    assert feature_tensors(model) == []


@pytest.mark.parametrize(("classes", "each"), [(2, 3), (200, 3), (3, 1)])
def test_a_few_images_of_two_or_two_hundred_classes_give_finite_scores(classes, each):
    labels = np.arange(classes).repeat(each)
    centres = RANDOM.normal(size=(classes, 40)) * 4
    training, unseen = (centres[labels] + RANDOM.normal(size=(2, len(labels), 40))).astype(np.float32)
    fitted = fit_abstention((training,), labels, (unseen,))
    read = Abstention.from_card(fitted.to_card())
    assert np.isfinite(read.scores((unseen,))).all()
    assert np.isfinite(read.scores((100 * unseen,))).all()
    assert fitted.distances[0].whitening.shape == (40, min(40, max(1, classes * each - classes)))


def test_a_class_that_is_absent_from_the_fitted_images_is_left_out():
    present = LABELS != 1
    fitted = fit_distance(FEATURES[present], LABELS[present], normalize=False)
    assert len(fitted.class_means) == 2


def test_right_predictions_alone_do_not_raise_the_confidence():
    probabilities = np.tile(np.array([[0.8, 0.2]], np.float32), (5, 1))
    assert fit_temperature(np.zeros(5, int), probabilities) == pytest.approx(1, abs=1e-3)
    assert fit_temperature(np.array([0, 0, 0, 0, 0, 1]), np.tile(probabilities[:1], (6, 1))) != pytest.approx(
        1, abs=0.05
    )


def test_too_few_validation_images_give_no_threshold_but_a_temperature():
    images = np.zeros((30, 28, 28, 1), np.uint8)
    train, few = (Split(images[:n], np.arange(n) % 3, np.arange(n)) for n in (30, 10))

    def network(pixels: np.ndarray) -> Outputs:
        return Outputs(np.full((len(pixels), 10), 0.1, np.float32), (np.ones((len(pixels), 2), np.float32),))

    fitted = fit_uncertainty(network, fashion_like(train, few, few), network(few.images))
    assert fitted.abstention is None
    assert fitted.temperature > 0
