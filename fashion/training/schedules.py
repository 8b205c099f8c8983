"""Learning-rate schedules; each choice of the config group ``schedule`` is a function here."""

from typing import Any

import keras
from keras import ops

from fashion.config.schema import Share


def constant(*, peak: float, steps: int) -> float:
    """Return the optimizer's own learning rate, which callbacks may lower."""
    return peak


def one_cycle(warmup: Share, *, peak: float, steps: int) -> "OneCycle":
    """Return a learning rate that rises linearly from 0 and then falls linearly to 0.

    Args:
        warmup: Share of the steps in which it rises.
        peak: The optimizer's own learning rate, reached once.
        steps: Steps of the whole run.
    """
    return OneCycle(peak, steps, warmup)


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up and linear decay: the 1cycle policy (Smith and Topin, 2017, arXiv:1708.07120) without its tail.

    Args:
        peak: The highest learning rate.
        steps: Steps of the whole run.
        warmup: Share of them in which the learning rate rises.
    """

    def __init__(self, peak: float, steps: int, warmup: float) -> None:
        self.peak = peak
        self.steps = steps
        self.warmup = warmup

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0; it is above 0 in the first and in the last step."""
        done = (ops.cast(step, "float32") + 0.5) / self.steps
        falling = (1 - done) / (1 - self.warmup)
        rising = done / self.warmup if self.warmup else falling
        return self.peak * ops.maximum(ops.minimum(rising, falling), 0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}
