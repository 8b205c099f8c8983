import threading
import time

import numpy as np
import pytest

from fashion.inference.batcher import Batcher, are_joined
from fashion.uncertainty.posthoc import Prediction


def means(images: np.ndarray) -> Prediction:
    mean = images.reshape(len(images), -1).mean(axis=1)
    return Prediction(mean[:, np.newaxis], -mean, mean[:, np.newaxis], -mean)


def test_every_thread_gets_its_own_prediction():
    sizes = []

    def compute(images):
        sizes.append(len(images))
        return means(images)

    batcher = Batcher(compute, max_images=8)
    wrong = []

    def request(seed):
        random = np.random.default_rng(seed)
        for _ in range(20):
            images = random.random((random.integers(1, 12), 28, 28, 1), np.float32)
            if not all(map(np.array_equal, batcher.predict(images), means(images))):
                wrong.append(seed)

    threads = [threading.Thread(target=request, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert max(sizes) <= 11  # one request alone may be larger than a batch


def test_requests_that_arrive_meanwhile_are_joined():
    started, resume = threading.Event(), threading.Event()
    sizes = []

    def compute(images):
        sizes.append(len(images))
        started.set()
        resume.wait(10)
        return means(images)

    batcher = Batcher(compute, max_images=8)
    threads = [
        threading.Thread(target=batcher.predict, args=(np.zeros((1, 28, 28, 1), np.float32),)) for _ in range(10)
    ]
    threads[0].start()
    started.wait(10)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 10
    while len(batcher._waiting) < 9 and time.monotonic() < deadline:
        time.sleep(0.001)
    resume.set()
    for thread in threads:
        thread.join()
    assert sizes == [1, 8, 1]


def test_an_error_reaches_its_callers_and_nobody_after_them():
    def compute(images):
        if images.max() > 1:
            raise ValueError("too bright")
        return means(images)

    batcher = Batcher(compute, max_images=8)
    with pytest.raises(ValueError, match="too bright"):
        batcher.predict(np.full((1, 28, 28, 1), 2.0, np.float32))
    assert batcher.predict(np.ones((1, 28, 28, 1), np.float32)).scores == [-1]


def test_images_whose_maps_exceed_a_cache_are_predicted_one_by_one():
    assert all(are_joined(shape) for shape in ((28, 28, 1), (32, 32, 3), (128, 128, 3)))
    assert not any(are_joined(shape) for shape in ((160, 160, 3), (224, 224, 3), (224, 160, 3)))
