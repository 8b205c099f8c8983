import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from fashion.metrics import (
    accuracy,
    brier_score,
    confusion_matrix,
    cross_entropy,
    has_unequal_classes,
    macro_accuracy,
    per_class,
    summary,
    wilson_interval,
)

LABELS = np.array([0, 1, 2, 2])
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.0, 0.0, 1.0], [0.25, 0.25, 0.5]], np.float32)


def test_accuracy_of_a_hand_made_table():
    assert accuracy(LABELS, PROBABILITIES) == 0.75


def test_cross_entropy_of_a_hand_made_table():
    expected = -(np.log(0.7) + np.log(0.4) + np.log(1.0) + np.log(0.5)) / 4
    assert cross_entropy(LABELS, PROBABILITIES) == pytest.approx(expected, rel=1e-6)


def test_a_probability_of_zero_is_clipped_as_keras_clips_it():
    assert cross_entropy(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(-np.log(1e-7))


def test_confusion_matrix_has_the_truth_in_its_rows():
    assert confusion_matrix(LABELS, np.array([0, 0, 2, 2]), 3).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 2]]


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8887, 10_000, 0.8824, 0.8947)],
)
def test_wilson_intervals_are_the_textbooks(correct, count, low, high):
    assert wilson_interval(correct, count) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 10_000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_an_interval_contains_its_share_and_stays_within_0_and_1(case):
    correct, count = case
    interval = wilson_interval(correct, count)
    assert 0 <= interval.low <= correct / count + 1e-12
    assert correct / count - 1e-12 <= interval.high <= 1


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_confusion_matrix_agrees_with_scikit_learn(pairs):
    labels, predictions = np.array(pairs).T
    assert np.array_equal(
        confusion_matrix(labels, predictions, 5), reference.confusion_matrix(labels, predictions, labels=range(5))
    )


def test_a_summary_contains_the_interval_of_its_accuracy():
    numbers = summary(LABELS, PROBABILITIES)
    assert numbers.accuracy == 0.75
    assert (numbers.accuracy_low, numbers.accuracy_high) == wilson_interval(3, 4)
    assert numbers.loss == cross_entropy(LABELS, PROBABILITIES)


def test_brier_score_of_a_hand_made_table():
    rows = [0.3**2 + 0.2**2 + 0.1**2, 0.5**2 + 0.6**2 + 0.1**2, 0, 0.25**2 + 0.25**2 + 0.5**2]
    assert brier_score(LABELS, PROBABILITIES) == pytest.approx(sum(rows) / 4, abs=1e-6)


def test_brier_score_agrees_with_scikit_learn():
    expected = reference.brier_score_loss(
        LABELS, PROBABILITIES.astype(np.float64), labels=[0, 1, 2], scale_by_half=False
    )
    assert brier_score(LABELS, PROBABILITIES) == pytest.approx(expected, abs=1e-6)


def test_classes_of_a_hand_made_matrix():
    first, second, third = per_class(np.array([[8, 2, 0], [4, 6, 0], [0, 0, 0]]))
    assert first == pytest.approx((8 / 12, 8 / 10, *wilson_interval(8, 10), 16 / 22, 10))
    assert second == pytest.approx((6 / 8, 6 / 10, *wilson_interval(6, 10), 12 / 18, 10))
    assert third == (0, 0, 0, 1, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_classes_agree_with_scikit_learn(pairs):
    labels, predictions = np.array(pairs).T
    expected = reference.precision_recall_fscore_support(labels, predictions, labels=range(4), zero_division=0)
    found = per_class(confusion_matrix(labels, predictions, 4))
    assert np.allclose(np.transpose([(row.precision, row.recall, row.f1, row.images) for row in found]), expected)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_macro_accuracy_is_scikit_learns_balanced_accuracy_inside_its_interval(pairs):
    labels, predictions = np.array(pairs).T
    found = summary(labels, np.eye(4)[predictions])
    assert found.macro_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predictions))
    assert -1e-9 <= found.macro_accuracy_low <= found.macro_accuracy <= found.macro_accuracy_high <= 1 + 1e-9


def test_the_interval_of_macro_accuracy_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    recall, images = np.array([0.95, 0.7, 0.5, 0.85]), np.array([400, 40, 8, 100])
    covered = 0
    for _ in range(2_000):
        right = random.binomial(images, recall)
        counts = np.diag(right)
        counts[np.arange(4), (np.arange(4) + 1) % 4] = images - right
        _, low, high = macro_accuracy(per_class(counts))
        covered += low <= recall.mean() <= high
    assert covered / 2_000 == pytest.approx(0.95, abs=0.02)


def test_one_class_has_the_interval_of_its_recall():
    found = summary(np.zeros(5, int), np.array([[0.9, 0.1]] * 4 + [[0.1, 0.9]]))
    assert (found.macro_accuracy, found.macro_accuracy_low, found.macro_accuracy_high) == pytest.approx(
        (0.8, *wilson_interval(4, 5))
    )


def test_classes_are_unequal_by_the_images_of_those_that_occur():
    assert not has_unequal_classes(np.array([0, 3, 3, 0]))
    assert has_unequal_classes(np.array([0, 3, 3]))
