"""Concurrent requests, predicted in one batch."""

import math
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from fashion.arrays import Pixels
from fashion.uncertainty.posthoc import Prediction

# XLA compiles once for each batch size, which takes seconds; smaller batches are padded to the next of these.
BATCH_SIZES = (1, 8, 64, 512)
# Of a batch's pixels, all channels counted: 512 images of 32 x 32 in colour, 64 of 128 x 128. A network's first layers
# take some fifty times as many numbers, and more images at once are no faster.
MAX_BATCH_VALUES = 4 * 2**20

# Of the pixels of 8 images, all channels counted: 8 of 128 x 128 in colour. The maps of larger ones do not fit into a
# processor's cache together: EfficientNet-Lite0 with flip averaging takes 8 ms for one image of 160 x 160 and 11 for
# each of eight, at 224 x 224 16 and 23. The batch would also be padded, and other requests wait for all of it.
MAX_JOINT_VALUES = 400_000


def batch_sizes(image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the batch sizes that are compiled for images of a height, a width and channels; 1 and 8 are always."""
    small = BATCH_SIZES[:2]
    return tuple(size for size in BATCH_SIZES if size in small or size * math.prod(image_shape) <= MAX_BATCH_VALUES)


def are_joined(image_shape: tuple[int, int, int]) -> bool:
    """Return whether images of a height, a width and channels are predicted faster together than one by one."""
    return BATCH_SIZES[1] * math.prod(image_shape) <= MAX_JOINT_VALUES


class _Request(NamedTuple):
    images: Pixels
    prediction: "Future[Prediction]"


class Batcher:
    """Joins the images of concurrent callers into one batch, without waiting for more to arrive.

    A thread of its own computes; requests that arrive in the meantime form the next batch.

    Args:
        predict: From images to their predictions; called in that one thread.
        max_images: Images in a batch; a single request may have more.
    """

    def __init__(self, predict: Callable[[Pixels], Prediction], max_images: int) -> None:
        self._predict = predict
        self._max_images = max_images
        self._waiting: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="batcher", daemon=True).start()

    @property
    def waiting(self) -> int:
        """The number of requests that wait for the batch in progress to end."""
        return self._waiting.qsize()

    def predict(self, images: Pixels) -> Prediction:
        """Return the predictions for images, of the same dtype in all calls."""
        request = _Request(images, Future())
        self._waiting.put(request)
        return request.prediction.result()

    def _run(self) -> None:
        left_over: _Request | None = None
        while True:
            batch = [left_over or self._waiting.get()]
            left_over = None
            count = len(batch[0].images)
            while count < self._max_images and left_over is None:
                try:
                    request = self._waiting.get_nowait()
                except queue.Empty:
                    break
                count += len(request.images)
                if count > self._max_images:
                    left_over = request
                else:
                    batch.append(request)
            self._complete(batch)

    def _complete(self, batch: list[_Request]) -> None:
        try:
            predictions = self._predict(np.concatenate([request.images for request in batch]))
        except Exception as error:  # noqa: BLE001  # raised in every caller's thread
            for request in batch:
                request.prediction.set_exception(error)
            return
        start = 0
        for request in batch:
            end = start + len(request.images)
            request.prediction.set_result(Prediction(*(rows[start:end] for rows in predictions)))
            start = end
