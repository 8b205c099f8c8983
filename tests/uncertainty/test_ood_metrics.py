import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fashion.uncertainty.ood_metrics import auroc, coverage_accuracy, false_positive_rate

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_auroc_agrees_with_scikit_learn(in_distribution, out_of_distribution):
    truth = [0] * len(in_distribution) + [1] * len(out_of_distribution)
    expected = roc_auc_score(truth, in_distribution + out_of_distribution)
    assert auroc(np.array(in_distribution), np.array(out_of_distribution)) == pytest.approx(expected)


def test_an_auroc_computed_by_hand():
    # Six pairs: 4 > 1, 4 > 2 and 2 > 1 win, 2 = 2 counts half, 4 and 2 lose against 5.
    assert auroc(np.array([1, 2, 5]), np.array([4, 2])) == pytest.approx(3.5 / 6)


def test_the_false_positive_rate_at_a_true_positive_rate_of_95_percent():
    assert false_positive_rate(np.arange(100), np.array([10, 94.5, 95, 95.5, 200])) == pytest.approx(3 / 5)


def test_the_most_confident_predictions_come_first():
    coverage, accuracy = coverage_accuracy(np.array([False, True, True, False]), np.array([0.6, 0.9, 0.5, 0.8]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert accuracy == pytest.approx([1, 1 / 2, 1 / 3, 1 / 2])
