import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fashion.uncertainty.ood_metrics import auroc, coverage_accuracy, false_positive_rate

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_auroc_agrees_with_scikit_learn(ordinary, strange):
    truth = [0] * len(ordinary) + [1] * len(strange)
    expected = roc_auc_score(truth, ordinary + strange)
    assert auroc(np.array(ordinary), np.array(strange)) == pytest.approx(expected)


def test_a_hand_made_auroc():
    # Of six pairs 4 > 1, 4 > 2, 2 > 1 win, 2 = 2 is half, and 4 and 2 lose against 5.
    assert auroc(np.array([1, 2, 5]), np.array([4, 2])) == pytest.approx(3.5 / 6)


def test_what_is_accepted_where_95_of_100_are():
    assert false_positive_rate(np.arange(100), np.array([10, 94.5, 95, 95.5, 200])) == pytest.approx(3 / 5)


def test_the_surest_answers_come_first():
    coverage, accuracy = coverage_accuracy(np.array([False, True, True, False]), np.array([0.6, 0.9, 0.5, 0.8]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert accuracy == pytest.approx([1, 1 / 2, 1 / 3, 1 / 2])
