"""What follows a whole run, not only its epochs: services that gather runs."""

import contextlib
from collections.abc import Iterator, Sequence

import keras

from fashion.runs.run_record import Run


class Tracker(keras.callbacks.Callback):
    """A callback that is also told of the run's beginning and of its end."""

    def run_begins(self, run: Run) -> None:
        """Take the run's folder and configuration; it may be one that goes on."""

    def run_ends(self, run: Run, status: str) -> None:
        """Take what the run has found; its figures are in its folder.

        Args:
            run: The run.
            status: ``completed``, ``failed`` or ``interrupted``.
        """


@contextlib.contextmanager
def told(callbacks: Sequence[keras.callbacks.Callback], run: Run) -> Iterator[None]:
    """Tell the trackers among the callbacks of a run's beginning and of its end, whichever it is."""
    trackers = [callback for callback in callbacks if isinstance(callback, Tracker)]
    for tracker in trackers:
        tracker.run_begins(run)
    status = "failed"
    try:
        yield
        status = "completed"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        for tracker in trackers:
            tracker.run_ends(run, status)
