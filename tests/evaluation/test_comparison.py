import math

import numpy as np
import pytest

from fashion.evaluation.comparison import compare, mcnemar, paired_interval


def results(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    one, other = np.array(pairs).T
    return one, other


def test_a_few_differences_are_tested_exactly():
    test = mcnemar(*results(80, 10, 2, 8))
    assert (test.only_first, test.only_second, test.exact) == (10, 2, True)
    assert test.p_value == pytest.approx(2 * (1 + 12 + 66) / 2**12)


def test_many_differences_are_tested_by_chi_squared_with_its_correction():
    test = mcnemar(*results(100, 600, 500, 100))
    assert not test.exact
    assert test.p_value == pytest.approx(math.erfc(math.sqrt(99**2 / 1100 / 2)))  # of one degree of freedom


def test_equal_models_do_not_differ():
    assert mcnemar(*results(5, 0, 0, 5)).p_value == 1
    assert mcnemar(*results(5, 3, 3, 5)).p_value == 1


def test_a_paired_interval_computed_by_hand():
    low, high = paired_interval(np.array([1.0, 1.0, 0.0, 0.0]))
    assert (low, high) == pytest.approx((0.5 - 1.959964 * math.sqrt(1 / 3) / 2, 0.5 + 1.959964 * math.sqrt(1 / 3) / 2))


def test_rows_compare_both_models_metric_by_metric():
    labels = np.array([0, 0, 1, 1])
    first = np.array([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.8, 0.2]], np.float32)
    second = np.array([[0.8, 0.2], [0.2, 0.8], [0.2, 0.8], [0.8, 0.2]], np.float32)
    test, compared = compare(labels, first, second, ("a", "b"))
    rows = {row.name: row for row in compared}
    assert (rows["accuracy"].first, rows["accuracy"].second) == (0.75, 0.5)
    assert rows["accuracy"].low < rows["accuracy"].difference == 0.25 < rows["accuracy"].high
    assert rows["loss"].difference == pytest.approx((math.log(0.2) - math.log(0.8)) / 4, abs=1e-6)
    assert rows["Brier score"].difference == pytest.approx((0.08 - 1.28) / 4, abs=1e-6)
    assert (rows["recall of a"].difference, rows["recall of b"].difference) == (0.5, 0)
    assert test.only_first == 1


def test_macro_accuracy_is_compared_where_classes_are_unequal():
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    first = np.eye(3, dtype=np.float32)[[0, 0, 0, 0, 1, 0, 1]]  # recalls 1, 1/2, 0
    second = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 1, 2]]  # recalls 3/4, 1, 1
    _, compared = compare(labels, first, second, ("a", "b", "c"))
    rows = {row.name: row for row in compared}
    assert (rows["macro accuracy"].first, rows["macro accuracy"].second) == pytest.approx((1 / 2, 11 / 12))
    assert "recall of c" not in rows  # one image has no deviation
    assert all(np.isfinite([row.low, row.high]).all() for row in compared)
