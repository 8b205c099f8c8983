"""Concurrent requests, computed together."""

import threading
from collections.abc import Callable

import numpy as np


class Batcher:
    """Joins the images of threads that ask at the same time into one batch, without waiting for more to come.

    Whoever finds the model idle computes for all who have asked by then; meanwhile others gather for the next batch.

    Args:
        probabilities: ``(n, 28, 28)`` images to ``(n, classes)`` probabilities, called by one thread at a time.
        largest: Images in a batch at most, unless one request alone has more.
    """

    def __init__(self, probabilities: Callable[[np.ndarray], np.ndarray], largest: int) -> None:
        self._compute = probabilities
        self._largest = largest
        self._waiting: list[_Request] = []
        self._list_lock = threading.Lock()
        self._model_lock = threading.Lock()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return ``(n, classes)`` probabilities of ``(n, 28, 28)`` images, of one dtype in all calls."""
        mine = _Request(images)
        with self._list_lock:
            self._waiting.append(mine)
        with self._model_lock:
            while mine.answer is None:
                self._run(self._next_batch())
        if isinstance(mine.answer, Exception):
            raise mine.answer
        return mine.answer

    def _next_batch(self) -> list["_Request"]:
        with self._list_lock:
            count, images = 1, len(self._waiting[0].images)
            for request in self._waiting[1:]:
                images += len(request.images)
                if images > self._largest:
                    break
                count += 1
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _run(self, batch: list["_Request"]) -> None:
        try:
            answers = self._compute(np.concatenate([request.images for request in batch]))
        except Exception as error:  # noqa: BLE001  # raised in every thread that asked
            for request in batch:
                request.answer = error
            return
        start = 0
        for request in batch:
            request.answer = answers[start : start + len(request.images)]
            start += len(request.images)


class _Request:
    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.answer: np.ndarray | Exception | None = None
