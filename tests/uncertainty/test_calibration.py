import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fashion.uncertainty.calibration import at_temperature


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 4.0])
def test_it_is_the_softmax_of_the_divided_logits(temperature):
    logits = np.random.default_rng(0).normal(0, 3, (50, 10))
    assert np.allclose(at_temperature(softmax(logits), temperature), softmax(logits / temperature), atol=2e-6)


def test_a_row_computed_by_hand():
    # Square roots of 0.64, 0.32 and 0.04 are 0.8, 0.5657 and 0.2, their sum is 1.5657.
    row = at_temperature(np.array([[0.64, 0.32, 0.04]], np.float32), 2.0)[0]
    assert row == pytest.approx([0.5110, 0.3613, 0.1277], abs=1e-4)


def test_a_probability_of_zero_stays_zero():
    assert at_temperature(np.array([[1, 0]], np.float32), 3.0).tolist() == [[1, 0]]


@given(
    arrays(np.float32, (4, 3), elements=st.sampled_from([0.5, float(np.nextafter(np.float32(0.5), 1)), 0.1, 0.9])),
    st.floats(0.05, 20),
)
def test_the_class_never_changes(weights, temperature):
    calibrated = at_temperature(weights, temperature)
    assert np.array_equal(calibrated.argmax(axis=1), weights.argmax(axis=1))
    top = weights.argmax(axis=1)
    assert (calibrated[np.arange(4), top] >= calibrated.max(axis=1)).all()
