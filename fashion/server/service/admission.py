"""How much is done at the same time, and who is told to come back later."""

import contextlib
import threading
from collections.abc import Iterator

from flask import current_app
from werkzeug.exceptions import ServiceUnavailable

from fashion.server.service.monitoring import Metrics

RETRY_AFTER_SECONDS = 1
LARGE_AT_ONCE = 2  # and one less than are worked on, so that small ones pass


class WorkQueue:
    """Room for a few requests to be worked on and a few more to wait; the rest is sent away at once.

    Args:
        at_once: Requests worked on at the same time.
        waiting: Requests that may wait beside them.
        metrics: Where the length of the queue is shown.
    """

    def __init__(self, at_once: int, waiting: int, metrics: Metrics) -> None:
        self._room = threading.BoundedSemaphore(at_once + waiting)
        self._workplaces = threading.BoundedSemaphore(at_once)
        self._large = threading.BoundedSemaphore(max(1, min(LARGE_AT_ONCE, at_once - 1)))
        self._metrics = metrics

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Be one of those who are worked on or wait.

        Raises:
            ServiceUnavailable: At once, when there are too many already.
        """
        if not self._room.acquire(blocking=False):
            raise ServiceUnavailable("Too many requests wait already.", retry_after=RETRY_AFTER_SECONDS)
        try:
            with self._metrics.queue_length.track_inprogress():
                yield
        finally:
            self._room.release()

    @contextlib.contextmanager
    def workplace(self) -> Iterator[None]:
        """Wait for a thread's worth of processor and memory, to decode pictures with.

        The model is waited for without one: the more wait, the larger the batch in which they are computed.
        """
        with self._workplaces:
            yield

    @contextlib.contextmanager
    def large(self, large: bool = True) -> Iterator[None]:
        """Within a workplace, do what takes hundreds of megabytes: few do at a time, on what all others need little.

        Who has to wait for that lends the workplace to others meanwhile.
        """
        if not large:
            yield
            return
        self._workplaces.release()
        self._large.acquire()
        self._workplaces.acquire()
        try:
            yield
        finally:
            self._large.release()


def work() -> WorkQueue:
    """Return the queue of the current application."""
    return current_app.extensions["work"]
