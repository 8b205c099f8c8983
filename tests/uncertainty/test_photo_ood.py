import json

import numpy as np
import pytest

from fashion.card import Card, SplitScores
from fashion.uncertainty.abstention import Abstention, MahalanobisDistance
from fashion.uncertainty.fitting import fit_logistic_regression
from fashion.uncertainty.photo_ood import PhotoOodScore, regression_inputs
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty, also_likely

DISTANCE = MahalanobisDistance(
    np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.zeros((1, 2), np.float32), False
)
CARD = Card(classes=["Coat", "Pullover"], seed=0, backend="jax", test=SplitScores(accuracy=0.1, images=10), config={})
ABSTENTION = Abstention((DISTANCE,), threshold=0.0)
PHOTO_OOD = PhotoOodScore(np.array([0.0, 0.0, 2.0, 0.0, 0.0, 0.0]), bias=-1.0, threshold=0.5)
OUTPUTS = Outputs(np.array([[1, 0], [0.5, 0.5]], np.float32), (np.array([[3, 4], [0, 0.1]], np.float32),))


def test_regression_inputs_are_log_probabilities_entropy_distances_and_directions():
    rows = regression_inputs(*OUTPUTS, ABSTENTION)
    assert rows.shape == (2, 6)
    assert rows[0] == pytest.approx([0, np.log(1e-4), 0, np.log(25), 0.6, 0.8], abs=2e-4)
    assert rows[1] == pytest.approx([np.log(0.5), np.log(0.5), np.log(2), np.log(0.01), 0, 1], abs=2e-4)


def test_a_photo_is_judged_by_its_own_score_and_a_product_by_the_other():
    prediction = PosthocUncertainty(1.0, ABSTENTION, PHOTO_OOD).prediction(OUTPUTS)
    assert prediction.photo_scores == pytest.approx([-1, 2 * np.log(2) - 1], abs=1e-3)
    assert prediction.scores == pytest.approx([np.log(25), np.log(0.01)], abs=1e-5)
    uncertainty = PosthocUncertainty(1.0, ABSTENTION, PHOTO_OOD._replace(threshold=0.0))
    judged = [[uncertainty.judge(prediction, row, photo=photo).decision for row in range(2)] for photo in (False, True)]
    assert judged == [["abstain", "accept"], ["accept", "abstain"]]
    assert uncertainty.judge(prediction, 0, photo=True).threshold == 0.0


def test_a_model_that_was_not_trained_for_photos_judges_them_as_products():
    uncertainty = PosthocUncertainty(1.0, ABSTENTION)
    prediction = uncertainty.prediction(OUTPUTS)
    assert uncertainty.judge(prediction, 0, photo=True) == uncertainty.judge(prediction, 0, photo=False)


def test_it_survives_the_card():
    entries = {"abstention": ABSTENTION.to_card(), "photo_abstention": PHOTO_OOD.to_card()}
    written = json.dumps(CARD.model_copy(update=entries).to_json())
    uncertainty = PosthocUncertainty.from_card(Card.model_validate(json.loads(written)))
    read = uncertainty.prediction(OUTPUTS).photo_scores
    assert np.array_equal(read, PosthocUncertainty(1.0, ABSTENTION, PHOTO_OOD).prediction(OUTPUTS).photo_scores)


def test_priors_change_the_probabilities_of_photos_alone():
    card = CARD.model_copy(update={"photo_odds": {"Coat": 0.5, "Pullover": 2.0}})
    uncertainty = PosthocUncertainty.from_card(card)
    prediction = uncertainty.prediction(Outputs(np.array([[0.6, 0.4]] * 2, np.float32)))
    assert prediction.probabilities[0] == pytest.approx([0.6, 0.4])
    assert prediction.photo_probabilities[0] == pytest.approx([0.3 / 1.1, 0.8 / 1.1])


def test_without_priors_photos_have_the_same_probabilities():
    prediction = PosthocUncertainty().prediction(OUTPUTS)
    assert np.array_equal(prediction.photo_probabilities, prediction.probabilities)


@pytest.mark.parametrize(
    ("probabilities", "beside"),
    [([0.5, 0.3, 0.2], [1]), ([0.25, 0.4, 0.35], [2, 0]), ([0.9, 0.1, 0.0], []), ([0.6, 0.3, 0.1], [1])],
)
def test_a_class_half_as_probable_is_named_as_an_alternative(probabilities, beside):
    assert also_likely(np.array(probabilities)) == beside


def test_the_regression_is_logistic_and_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    own, foreign = random.normal(0, (1, 5, 0.2), (800, 3)), random.normal((1, 0, 0.1), (1, 5, 0.2), (500, 3))
    weights, bias = fit_logistic_regression(own, foreign)
    both, labels = np.concatenate([own, foreign]), np.repeat([0, 1], [800, 500])
    reference = LogisticRegression(C=np.inf).fit(both, labels).decision_function(both)
    assert np.corrcoef(both @ weights + bias, reference)[0, 1] > 0.999
    assert both @ weights + bias == pytest.approx(reference, abs=0.1)
