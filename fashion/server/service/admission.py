"""Admission control: how many requests are processed at the same time, how many wait, and which are refused."""

import contextlib
import threading
from collections.abc import Iterator

from fashion.server.problems import UnavailableError
from fashion.server.service.monitoring import Metrics

RETRY_AFTER_SECONDS = 1
MAX_LARGE_IMAGES = 2  # decoded at the same time, and at least one slot fewer than all, so that small images pass


class AdmissionControl:
    """Admits a limited number of requests, and lets still fewer of them decode images at the same time.

    Args:
        slots: Images decoded at the same time.
        queue: Further requests that may wait.
        metrics: Where the length of the queue is reported.
    """

    def __init__(self, slots: int, queue: int, metrics: Metrics) -> None:
        self._admitted = threading.BoundedSemaphore(slots + queue)
        self._decoding = threading.BoundedSemaphore(slots)
        self._large_images = threading.BoundedSemaphore(max(1, min(MAX_LARGE_IMAGES, slots - 1)))
        self._metrics = metrics

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Count a request as being processed or waiting.

        Raises:
            UnavailableError: At once, if too many are admitted already.
        """
        if not self._admitted.acquire(blocking=False):
            raise UnavailableError(
                "busy", "Too many requests are waiting; try again later.", retry_after=RETRY_AFTER_SECONDS
            )
        try:
            with self._metrics.queue_length.track_inprogress():
                yield
        finally:
            self._admitted.release()

    @contextlib.contextmanager
    def decode_slot(self) -> Iterator[None]:
        """Wait for one of the slots, each a thread's worth of processor time and memory.

        Requests wait for the model without a slot: the more of them wait, the larger is their joint batch.
        """
        with self._decoding:
            yield

    @contextlib.contextmanager
    def large_image_slot(self, is_large: bool = True) -> Iterator[None]:
        """Within a decode slot, wait until a large image may be decoded; a no-op for a small one.

        Large images take hundreds of megabytes each. While one waits, its decode slot is lent to other requests.
        """
        if not is_large:
            yield
            return
        self._decoding.release()
        self._large_images.acquire()
        self._decoding.acquire()
        try:
            yield
        finally:
            self._large_images.release()
