import numpy as np
import pytest

from fashion.card import AbstentionEntry, Card, SplitScores
from fashion.uncertainty.abstention import Abstention, MahalanobisDistance
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty

# Three features whitened to two axes; class means at (1, 0) and (0, 2).
DISTANCE = MahalanobisDistance(
    mean=np.array([1, 1, 1], np.float32),
    whitening=np.array([[1, 0], [0, 2], [0, 0]], np.float32),
    class_means=np.array([[1, 0], [0, 2]], np.float32),
    normalize=False,
    log_mean=float(np.log(4)),
    log_deviation=0.5,
)
FEATURES = np.array([[4, 1, 9], [1, 3, 1]], np.float32)  # whitened (3, 0) and (0, 4): 2 away from each mean


def test_the_distance_is_to_the_nearest_class():
    assert DISTANCE.log_distances(FEATURES) == pytest.approx([0, 0], abs=1e-6)
    assert DISTANCE.log_distances(np.array([[6, 1, 0]], np.float32)) == pytest.approx([np.log(16 / 4) / 0.5])


def test_a_normalized_distance_ignores_lengths():
    distance = DISTANCE._replace(normalize=True)
    assert distance.log_distances(FEATURES) == pytest.approx(distance.log_distances(7 * FEATURES), abs=1e-4)
    assert np.isfinite(distance.log_distances(np.zeros((1, 3), np.float32))).all()


def test_a_score_is_the_mean_of_its_distances():
    pair = Abstention((DISTANCE, DISTANCE._replace(log_mean=0.0, log_deviation=1.0)), 1.0)
    assert pair.scores((FEATURES, FEATURES)) == pytest.approx([np.log(4) / 2] * 2, abs=1e-6)


def test_it_survives_the_card():
    original = Abstention((DISTANCE, DISTANCE._replace(normalize=True)), 1.25)
    read = Abstention.from_card(AbstentionEntry.model_validate_json(original.to_card().model_dump_json()))
    assert read.threshold == 1.25
    assert np.array_equal(read.scores((FEATURES, FEATURES)), original.scores((FEATURES, FEATURES)))


def test_the_model_abstains_above_the_threshold_and_on_nan():
    uncertainty = PosthocUncertainty(1.0, Abstention((DISTANCE,), 0.5))
    outputs = Outputs(np.full((2, 2), 0.5, np.float32), (np.array([[4, 1, 9], [60, 1, 0]], np.float32),))
    prediction = uncertainty.prediction(outputs)
    assert [uncertainty.judge(prediction, row, photo=False).decision for row in range(2)] == ["accept", "abstain"]
    unknown = prediction._replace(scores=np.full(2, np.nan))
    assert uncertainty.judge(unknown, 0, photo=False).decision == "abstain"


def test_an_old_card_accepts_everything():
    card = Card(classes=["a", "b"], seed=0, backend="jax", test=SplitScores(accuracy=0.5, images=10), config={})
    uncertainty = PosthocUncertainty.from_card(card)
    prediction = uncertainty.prediction(Outputs(np.array([[0.3, 0.7]], np.float32)))
    assert prediction.probabilities.tolist() == np.array([[0.3, 0.7]], np.float32).tolist()
    assert np.isnan(prediction.scores).all()
    assert uncertainty.threshold is None
    assert uncertainty.judge(prediction, 0, photo=False).decision == "accept"
