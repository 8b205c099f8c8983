"""Trackers: callbacks that follow a whole run, such as services that collect runs."""

import contextlib
import logging
from collections.abc import Iterator, Sequence

import keras

from fashion.runs.active_run import ActiveRun
from fashion.runs.result import EndStatus

log = logging.getLogger(__name__)


class Tracker(keras.callbacks.Callback):
    """A callback that is also called at the run's beginning and at its end."""

    def on_run_begin(self, run: ActiveRun) -> None:
        """Called before the training, with the run's folder and configuration; the run may be a resumed one."""

    def on_run_end(self, run: ActiveRun, status: EndStatus) -> None:
        """Called at the run's end, when its metrics are known and its figures are in its folder.

        What it raises becomes a warning: how the run ended is decided.

        Args:
            run: The run.
            status: How it ended.
        """


@contextlib.contextmanager
def notify_trackers(callbacks: Sequence[keras.callbacks.Callback], run: ActiveRun) -> Iterator[None]:
    """Call the trackers among the callbacks at the beginning and at the end of the block, however it ends."""
    trackers = [callback for callback in callbacks if isinstance(callback, Tracker)]
    for tracker in trackers:
        tracker.on_run_begin(run)
    status: EndStatus = "failed"
    try:
        yield
        status = "completed"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        for tracker in trackers:
            try:
                tracker.on_run_end(run, status)
            except Exception as error:  # noqa: BLE001  # whatever the service's library raises
                log.warning("%s: the end of the run was not recorded (%s)", type(tracker).__name__, error)
