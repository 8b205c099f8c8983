"""What happens between steps and epochs: the best model, the run's record, and a clean stop."""

import contextlib
import csv
import io
import logging
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import keras

from fashion import artifact
from fashion.cli import interrupted
from fashion.data.batches import TrainingBatches
from fashion.errors import DivergenceError
from fashion.files import write_text
from fashion.runs import resume_state

log = logging.getLogger(__name__)


class BestCheckpoint(keras.callbacks.Callback):
    """Keep the model of the best epoch so far as a file that plain Keras loads.

    Args:
        path: The ``.keras`` file; replaced whole at each better epoch.
        monitor: What to judge by; accuracies are better when higher, losses when lower.
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


class RunRecorder(keras.callbacks.Callback):
    """Write each epoch down and make the run resumable; restore the run it goes on with.

    Comes last in the list of callbacks, so that what it stores at the end of an epoch includes what they did in it.

    Args:
        folder: The run's folder: ``history.csv`` and the resume state go there.
        config: The run's resolved configuration.
        batches: The training batches, told which epoch it is.
        others: The other callbacks of the run.
        state: The state to go on from, if any.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        batches: TrainingBatches,
        others: Sequence[keras.callbacks.Callback],
        state: resume_state.State | None,
    ) -> None:
        super().__init__()
        self.folder, self.config, self.batches, self.others, self.state = folder, config, batches, others, state
        self.history: dict[str, list[float]] = dict(state.history) if state else {}
        self.seconds = self.seconds_before = state.seconds if state else 0.0
        self.first_step_at: float | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the state now that the other callbacks have reset theirs."""
        if self.state:
            resume_state.restore(self.state, self.model, self.others)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Tell the batches which epoch it is."""
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
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        # ReduceLROnPlateau has already lowered the rate for the next epoch; it wrote this epoch's into the logs.
        values = {"learning_rate": rate, **(logs or {}), "seconds": round(seconds, 3)}
        for name, value in values.items():
            self.history.setdefault(name, []).append(float(value))
        shown = "  ".join(f"{name} {values[name]:.4f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        log.info("epoch %d/%d  %s  %.0f s", epoch + 1, self.params["epochs"], shown, seconds)
        self._write_history()
        resume_state.save(
            self.folder,
            self.model,
            self.others,
            epochs=epoch + 1,
            history=self.history,
            config=self.config,
            seconds=self.seconds,
        )

    def _write_history(self) -> None:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["epoch", *self.history])
        writer.writerows([epoch, *row] for epoch, row in enumerate(zip(*self.history.values(), strict=True), start=1))
        write_text(self.folder / "history.csv", table.getvalue())


class Guard(keras.callbacks.Callback):
    """Stop after the current step when asked to, and at once when the loss is no number any more."""

    def __init__(self) -> None:
        super().__init__()
        self.training = False
        self.asked = False
        self.epoch = 0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """From here on a signal waits for the end of a step."""
        self.stop_if_asked()
        self.training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """From here on a signal stops at once."""
        self.training = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Remember the epoch for the error message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the signal flag and the loss."""
        self.stop_if_asked()
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            raise DivergenceError(
                f"the loss became {loss} in epoch {self.epoch + 1} at step {batch + 1} "
                f"with optimizer.learning_rate={rate:g}; try a tenth of it"
            )

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the signal flag."""
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Stop where it is safe, if a signal came; also one whose exception a library's callback swallowed (JAX's do).

        Raises:
            KeyboardInterrupt: When a signal came.
        """
        if self.asked or interrupted.is_set():
            raise KeyboardInterrupt

    def handle(self, signal_number: int, frame: FrameType | None) -> None:
        """Take a signal: the first one in training is kept until the step is done, any other interrupts here."""
        again, self.asked = self.asked, True
        if again or not self.training:
            raise KeyboardInterrupt
        log.info("%s: stopping after this step (once more: at once)", signal.Signals(signal_number).name)


@contextlib.contextmanager
def guarded() -> Iterator[Guard]:
    """Let SIGINT and SIGTERM go through a guard while the block runs."""
    guard = Guard()
    if threading.current_thread() is not threading.main_thread():
        yield guard  # signals reach the main thread only, which is not ours
        return
    before = {number: signal.signal(number, guard.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield guard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
