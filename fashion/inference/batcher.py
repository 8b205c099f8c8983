"""Concurrent requests, computed together."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from fashion.uncertainty.posthoc import Prediction


class _Request(NamedTuple):
    images: np.ndarray
    answer: "Future[Prediction]"


class Batcher:
    """Joins the images of threads that ask at the same time into one batch, without waiting for more to come.

    A thread of its own computes; what is asked meanwhile is the next batch.

    Args:
        predict: ``(n, 28, 28)`` images to their answers, called by that one thread.
        largest: Images in a batch at most, unless one request alone has more.
    """

    def __init__(self, predict: Callable[[np.ndarray], Prediction], largest: int) -> None:
        self._compute = predict
        self._largest = largest
        self._waiting: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="batcher", daemon=True).start()

    def predict(self, images: np.ndarray) -> Prediction:
        """Return the answers to ``(n, 28, 28)`` images, of one dtype in all calls."""
        request = _Request(images, Future())
        self._waiting.put(request)
        return request.answer.result()

    def _run(self) -> None:
        left_over: _Request | None = None
        while True:
            batch = [left_over or self._waiting.get()]
            left_over = None
            count = len(batch[0].images)
            while count < self._largest and left_over is None:
                try:
                    request = self._waiting.get_nowait()
                except queue.Empty:
                    break
                count += len(request.images)
                if count > self._largest:
                    left_over = request
                else:
                    batch.append(request)
            self._answer(batch)

    def _answer(self, batch: list[_Request]) -> None:
        try:
            answers = self._compute(np.concatenate([request.images for request in batch]))
        except Exception as error:  # noqa: BLE001  # raised in every thread that asked
            for request in batch:
                request.answer.set_exception(error)
            return
        start = 0
        for request in batch:
            end = start + len(request.images)
            request.answer.set_result(Prediction(*(rows[start:end] for rows in answers)))
            start = end
