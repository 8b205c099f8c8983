import numpy as np
import pytest

from fashion.uncertainty.calibration import at_temperature
from fashion.uncertainty.fitting import fit_temperature
from fashion.uncertainty.reliability import expected_calibration_error, reliability_bins

# Confidences 0.55 right, 0.58 wrong, 0.95 right, 0.9 right, 0.7 wrong: of five ranges the third and the last two.
CONFIDENCE = np.array([0.55, 0.58, 0.95, 0.9, 0.7])
ROWS = np.stack([CONFIDENCE, 1 - CONFIDENCE], axis=1)
LABELS = np.array([0, 1, 0, 0, 1])


def test_a_hand_made_reliability_table():
    table = reliability_bins(LABELS, ROWS, bins=5)
    assert [row.images for row in table] == [0, 0, 2, 1, 2]
    assert [row.accuracy for row in table] == [0, 0, 0.5, 0, 1]
    assert [row.confidence for row in table] == pytest.approx([0, 0, 0.565, 0.7, 0.925])
    assert (table[2].low, table[2].high) == pytest.approx((0.4, 0.6))


def test_the_error_of_the_hand_made_table():
    expected = (2 * abs(0.5 - 0.565) + 0.7 + 2 * (1 - 0.925)) / 5
    assert expected_calibration_error(LABELS, ROWS, bins=5) == pytest.approx(expected)


def test_a_confidence_on_an_edge_is_in_the_lower_range():
    table = reliability_bins(np.array([0, 0]), np.array([[0.5, 0.5], [1.0, 0.0]]), bins=2)
    assert [row.images for row in table] == [1, 1]


def test_the_error_agrees_with_its_definition():
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.ones(4), 500).astype(np.float32)
    labels = random.integers(0, 4, 500)
    confidence, right = rows.max(axis=1), rows.argmax(axis=1) == labels
    expected = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(labels, rows) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature):
    random = np.random.default_rng(1)
    calibrated = random.dirichlet(np.full(5, 0.4), 20_000).astype(np.float32).clip(1e-6)
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    labels = (random.random((20_000, 1)) > calibrated.cumsum(axis=1)).sum(axis=1).clip(max=4)
    overconfident = at_temperature(calibrated, 1 / temperature)
    assert fit_temperature(labels, overconfident) == pytest.approx(temperature, rel=0.05)
