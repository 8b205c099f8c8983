"""After each step and epoch: keep the best model, record the epoch, end a run that diverges."""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import keras

from fashion import artifact
from fashion.config.nodes import ResolvedConfig
from fashion.data.batches import TrainingBatches
from fashion.errors import DivergenceError
from fashion.runs import resume_state
from fashion.runs.folder import RunFolder

log = logging.getLogger(__name__)


class BestCheckpoint(keras.callbacks.Callback):
    """Keep the model of the best epoch so far as a file that plain Keras loads.

    Args:
        path: The ``.keras`` file, replaced at each better epoch.
        monitor: The metric to compare; accuracies are better when higher, losses when lower.
    """

    def __init__(self, path: str, monitor: Literal["loss", "accuracy", "val_loss", "val_accuracy"]) -> None:
        super().__init__()
        self.path = path
        self.monitor = monitor
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the model if this epoch is better than all before it."""
        value = (logs or {})[self.monitor]
        sign = 1 if self.monitor.endswith("accuracy") else -1
        if self.best is None or sign * value > sign * self.best:
            self.best = value
            artifact.save_model(self.model.deployable(), Path(self.path))


class RaiseOnDivergence(keras.callbacks.Callback):
    """End the run at the first step whose loss is not finite: ``keras.callbacks.TerminateOnNaN`` as an error."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the epoch for the error message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Check the loss.

        Raises:
            DivergenceError: When it is not finite.
        """
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            rate = _learning_rate(self.model)
            raise DivergenceError(
                f"the loss became {loss} in epoch {self.epoch + 1} at step {batch + 1} "
                f"with optimizer.learning_rate={rate:g}; try a tenth of it"
            )


class EpochRecorder(keras.callbacks.Callback):
    """Record each epoch, and store the state to resume from; restore the state of the run that is resumed.

    Comes last in the list of callbacks, so that what it stores at the end of an epoch includes what they did in it.

    Args:
        folder: The run's folder: the history and the resume state go there. None: nothing is written.
        config: The run's resolved configuration.
        batches: The training batches, which shuffle by the number of the epoch; None for a run without epochs.
        others: The other callbacks whose state is stored.
        state: The state to resume from, if any.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        config: ResolvedConfig,
        batches: TrainingBatches | None,
        others: Sequence[keras.callbacks.Callback],
        state: resume_state.ResumeState | None,
    ) -> None:
        super().__init__()
        self.folder, self.config, self.batches, self.others, self.state = folder, config, batches, others, state
        self.history: dict[str, list[float]] = dict(state.progress.history) if state else {}
        self.seconds = self.seconds_before = state.progress.seconds if state else 0.0
        self.first_step_at: float | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the state now that the other callbacks have reset theirs."""
        if self.state:
            resume_state.restore(self.state, self.model, self.others)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the number of the epoch that the batches shuffle by."""
        if self.batches is not None:
            self.batches.epoch = epoch
        self._epoch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Note when the first step of this process was done: all before it was start-up."""
        if self.first_step_at is None:
            self.first_step_at = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log the epoch, write the history, and store the state."""
        seconds = time.monotonic() - self._epoch_began
        self.seconds += seconds
        # ReduceLROnPlateau has already lowered the rate for the next epoch; it wrote this epoch's into the logs.
        values = {"learning_rate": _learning_rate(self.model), **(logs or {}), "seconds": round(seconds, 3)}
        for name, value in values.items():
            self.history.setdefault(name, []).append(float(value))
        shown = "  ".join(f"{name} {values[name]:.4f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        log.info("epoch %d/%d  %s  %.0f s", epoch + 1, self.params["epochs"], shown, seconds)
        if self.folder is None:
            return
        self.folder.write_history(self.history)
        self.folder.write_resume_state(
            resume_state.capture(
                self.model,
                self.others,
                epochs=epoch + 1,
                history=self.history,
                config=self.config,
                seconds=self.seconds,
            )
        )


def _learning_rate(model: keras.Model) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
