"""SIGINT and SIGTERM in a training: the step that runs is completed, so that the stored state stays exact.

Of several processes that train together, all stop after the same step, whichever received the signal.
"""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

import keras

from fashion.backend import coordination
from fashion.cli import interrupted

log = logging.getLogger(__name__)

Handler = Callable[[int, FrameType | None], object] | int | None


class GracefulStop(keras.callbacks.Callback):
    """Stop a training after the current step when a signal arrives; a second signal stops it at once.

    A context manager too: it handles the signals while its block runs. Outside of the training itself, a signal raises
    ``KeyboardInterrupt`` at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.training = False
        self.requested = False
        self._steps = 0
        self._handlers_before: dict[int, Handler] = {}

    def __enter__(self) -> "GracefulStop":
        """Handle SIGINT and SIGTERM from here on."""
        if threading.current_thread() is threading.main_thread():  # others neither receive signals nor set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers_before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        """Restore the handlers."""
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        self._handlers_before.clear()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Let signals wait for the end of a step from here on."""
        self.raise_if_requested()
        self.training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Let signals stop at once from here on."""
        self.training = False

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stop here if a signal arrived during the step."""
        if coordination.connected():
            self._stop_with_the_others()
        else:
            self.raise_if_requested()

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Stop here if a signal arrived during the step; several processes stop after a training step."""
        if not coordination.connected():
            self.raise_if_requested()

    def stop_instead_of_ending(self) -> None:
        """Stop if a signal arrived at any of the processes that have completed the training.

        Raises:
            KeyboardInterrupt: When a signal arrived.
        """
        if not coordination.connected():
            self.raise_if_requested()
        elif any(coordination.gather("stop_at_the_end", "yes" if self._signalled() else "")):
            raise coordination.StoppedTogether

    def raise_if_requested(self) -> None:
        """Stop if a signal arrived, also one whose exception a library's callback swallowed, as JAX's do.

        Raises:
            KeyboardInterrupt: When a signal arrived.
        """
        if self._signalled():
            raise KeyboardInterrupt

    def _signalled(self) -> bool:
        return self.requested or interrupted.is_set()

    def _stop_with_the_others(self) -> None:
        """Stop after the step that a process has named; one that received a signal names the next.

        No process completes that step before all have begun it, this one after it has named it; so all learn of it in
        time. Keras has waited for the loss of this step, so it is complete.
        """
        self._steps += 1
        if self._signalled():
            coordination.announce("stop_after", str(self._steps + 1))
        if coordination.announced("stop_after") == str(self._steps):
            raise coordination.StoppedTogether

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again or not self.training:
            raise KeyboardInterrupt
        log.info("%s: stopping after this step (send it again to stop at once)", signal.Signals(signal_number).name)
