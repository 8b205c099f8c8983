"""An exported model is kept only if it is as good as the original, in every class."""

import numpy as np
import pytest

from fashion.errors import FashionError
from fashion.export.agreement import measure, refuse
from fashion.uncertainty.posthoc import Prediction

LABELS = np.arange(2000) % 2


def prediction(wrong_zeros: int, wrong_ones: int, scores: float = 0.0) -> Prediction:
    """Predictions for 1,000 images of class 0 and 1,000 of class 1, some of them wrong."""
    predicted = LABELS.copy()
    predicted[np.flatnonzero(LABELS == 0)[:wrong_zeros]] = 1
    predicted[np.flatnonzero(LABELS == 1)[:wrong_ones]] = 0
    probabilities = np.where(np.eye(2)[predicted] == 1, 0.75, 0.25).astype(np.float32)
    all_scores = np.full(len(LABELS), scores, np.float32)
    return Prediction(probabilities, all_scores, probabilities, all_scores)


def test_equal_answers_agree():
    found = measure(LABELS, prediction(10, 20), prediction(10, 20), threshold=1.0)
    assert (found.images, found.same_class, found.same_decision) == (2000, 2000, 2000)
    assert found.accuracy == found.keras_accuracy == pytest.approx(0.985)
    assert found.max_recall_difference == found.max_probability_difference == found.max_score_difference == 0
    refuse(LABELS, prediction(10, 20), prediction(10, 20), "none")


def test_what_differs_is_measured():
    found = measure(LABELS, prediction(10, 20, 0.5), prediction(12, 20, 1.25), threshold=1.0)
    assert (found.same_class, found.same_decision) == (1998, 0)
    assert found.max_recall_difference == pytest.approx(0.002)
    assert found.max_probability_difference == 0.5
    assert found.max_score_difference == 0.75
    assert measure(LABELS, prediction(0, 0), prediction(0, 0), threshold=None).same_decision is None


@pytest.mark.parametrize(
    ("quantise", "wrong", "kept"),
    [("none", 1, True), ("none", 2, False), ("float16", 2, False), ("int8", 5, True), ("int8", 6, False)],
)
def test_the_limits_are_a_tenth_of_a_point_and_half_a_point(quantise, wrong, kept):
    if kept:
        refuse(LABELS, prediction(0, 0), prediction(wrong, 0), quantise)
    else:
        with pytest.raises(FashionError, match=rf"not kept: .* recall of a class differs by {wrong / 10:.2f} points"):
            refuse(LABELS, prediction(0, 0), prediction(wrong, 0), quantise)


@pytest.mark.parametrize(("wrong", "kept"), [(1, True), (2, False)])
def test_one_image_may_change_however_few_a_class_has(wrong, kept):
    """Rounding alone changes the class of an image that is halfway between two."""
    few = np.concatenate([np.flatnonzero(LABELS == 0)[:20], np.flatnonzero(LABELS == 1)])
    before, after = (
        Prediction(*(array[few] for array in prediction(wrong_zeros, 0)[:4])) for wrong_zeros in (0, wrong)
    )
    if kept:
        refuse(LABELS[few], before, after, "none")
    else:
        with pytest.raises(FashionError, match=r"on 20 test images its recall of a class differs by 10\.00 points"):
            refuse(LABELS[few], before, after, "int8")


def test_a_class_that_gains_what_another_loses_is_noticed():
    found = measure(LABELS, prediction(10, 0), prediction(0, 10), threshold=None)
    assert found.accuracy == found.keras_accuracy
    with pytest.raises(FashionError, match=r"recall of a class differs by 1\.00 points"):
        refuse(LABELS, prediction(10, 0), prediction(0, 10), "int8")


def test_answers_that_are_no_numbers_are_refused():
    nothing = np.full((len(LABELS), 2), np.nan, np.float32)
    with pytest.raises(FashionError, match="not kept"):
        refuse(LABELS, prediction(0, 0), Prediction(nothing, nothing[:, 0], nothing, nothing[:, 0]), "none")
