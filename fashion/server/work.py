"""How much is done at the same time, and who is told to come back later."""

import contextlib
import threading
from collections.abc import Iterator

from werkzeug.exceptions import ServiceUnavailable

from fashion.server.monitoring import Metrics

RETRY_AFTER_SECONDS = 1


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
        self._metrics = metrics

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a workplace, after waiting for one.

        Raises:
            ServiceUnavailable: At once, when too many wait already.
        """
        if not self._room.acquire(blocking=False):
            raise ServiceUnavailable("Too many requests wait already.", retry_after=RETRY_AFTER_SECONDS)
        try:
            with self._metrics.queue_length.track_inprogress():
                self._workplaces.acquire()
            try:
                yield
            finally:
                self._workplaces.release()
        finally:
            self._room.release()
