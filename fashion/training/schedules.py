"""How the learning rate goes over a run; each choice of the config group ``schedule`` is a function here."""

from typing import Any

import keras
from keras import ops

from fashion.config.schema import Share


def constant(*, peak: float, steps: int) -> float:
    """Return the optimizer's own rate, which callbacks may lower."""
    return peak


def one_cycle(warmup: Share, *, peak: float, steps: int) -> "OneCycle":
    """Return a rate that rises from 0 and falls to 0, both in straight lines.

    Args:
        warmup: Share of the steps in which it rises.
        peak: The optimizer's own rate, reached once.
        steps: Of the whole run.
    """
    return OneCycle(peak, steps, warmup)


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Up and down in straight lines: the 1cycle policy (Smith and Topin, 2017, arXiv:1708.07120), without its tail.

    Args:
        peak: The highest rate.
        steps: Of the whole run.
        warmup: Share of them in which the rate rises.
    """

    def __init__(self, peak: float, steps: int, warmup: float) -> None:
        self.peak = peak
        self.steps = steps
        self.warmup = warmup

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, counted from 0; the first and the last one are not wasted on a rate of 0."""
        done = (ops.cast(step, "float32") + 0.5) / self.steps
        falling = (1 - done) / (1 - self.warmup)
        rising = done / self.warmup if self.warmup else falling
        return self.peak * ops.maximum(ops.minimum(rising, falling), 0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}
