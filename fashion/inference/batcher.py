"""Concurrent requests, predicted in one batch."""

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import cast

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


class _Request:
    """Images of a waiting thread, which ``turn`` wakes when they are predicted or when it is to compute a batch."""

    def __init__(self, images: Pixels) -> None:
        self.images = images
        self.prediction: Prediction | None = None
        self.error: BaseException | None = None
        self.turn = threading.Lock()
        self.turn.acquire()


class Batcher:
    """Joins the images of concurrent callers into one batch, without waiting for more to arrive.

    The calling threads compute, one at a time: a single caller waits for no other thread. Requests that arrive in the
    meantime form the next batch, which the first of their threads computes for all of them.

    Args:
        predict: From images to their predictions; called in one thread at a time.
        max_images: Images in a batch; a single request may have more.
    """

    def __init__(self, predict: Callable[[Pixels], Prediction], max_images: int) -> None:
        self._predict = predict
        self._max_images = max_images
        self._lock = threading.Lock()  # of both
        self._waiting: deque[_Request] = deque()
        self._computing = False

    def predict(self, images: Pixels) -> Prediction:
        """Return the predictions for images, of the same dtype in all calls."""
        request = _Request(images)
        with self._lock:
            self._waiting.append(request)
            waits, self._computing = self._computing, True
        if waits:
            request.turn.acquire()
        if request.prediction is None and request.error is None:
            self._compute_batch()
        if request.error is not None:
            raise request.error
        return cast(Prediction, request.prediction)

    def _compute_batch(self) -> None:
        """Compute the first of the waiting requests, which is this thread's, and what fits beside it."""
        with self._lock:
            batch = [self._waiting.popleft()]
            count = len(batch[0].images)
            while self._waiting and count + len(self._waiting[0].images) <= self._max_images:
                batch.append(self._waiting.popleft())
                count += len(batch[-1].images)
        try:
            predictions = self._predict(np.concatenate([request.images for request in batch]))
        except BaseException as error:  # noqa: BLE001  # raised in every caller's thread: none may wait forever
            for request in batch:
                request.error = error
        else:
            start = 0
            for request in batch:
                end = start + len(request.images)
                request.prediction = Prediction(*(rows[start:end] for rows in predictions))
                start = end
        self._pass_on()
        for request in batch[1:]:
            request.turn.release()

    def _pass_on(self) -> None:
        """Let the next waiting request's thread compute."""
        with self._lock:
            if self._waiting:
                self._waiting[0].turn.release()
            else:
                self._computing = False
