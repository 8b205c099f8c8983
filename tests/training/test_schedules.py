"""Known answers of the learning-rate schedules."""

import numpy as np
import pytest
from keras import ops

from fashion.training.schedules import constant, one_cycle

pytestmark = pytest.mark.backend


def rates(warmup: float, steps: int) -> np.ndarray:
    schedule = one_cycle(warmup, peak=2.0, steps=steps)
    return np.array([float(ops.convert_to_numpy(schedule(step))) for step in range(steps)])


def test_one_cycle_rises_and_falls_linearly():
    found = rates(0.25, 40)
    assert found[:10] == pytest.approx(np.arange(0.5, 10) * 0.2)
    assert found[10:] == pytest.approx(np.arange(29.5, 0, -1) / 15)


def test_every_step_has_a_rate_above_zero_and_the_mean_is_half_the_peak():
    for warmup in (0.0, 0.2, 0.9):
        found = rates(warmup, 50)
        assert found.min() > 0
        assert found.max() <= 2
        assert found.mean() == pytest.approx(1, abs=0.02)


def test_without_warmup_it_only_falls():
    assert (np.diff(rates(0.0, 20)) < 0).all()


def test_after_the_end_it_is_never_negative():
    assert float(ops.convert_to_numpy(one_cycle(0.2, peak=1.0, steps=10)(50))) == 0


def test_constant_is_the_optimizers_own():
    assert constant(peak=0.3, steps=7) == 0.3
