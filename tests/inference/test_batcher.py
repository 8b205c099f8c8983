import threading

import numpy as np
import pytest

from fashion.inference.batcher import Batcher
from fashion.uncertainty.posthoc import Prediction


def means(images: np.ndarray) -> Prediction:
    mean = images.reshape(len(images), -1).mean(axis=1)
    return Prediction(mean[:, np.newaxis], -mean, mean[:, np.newaxis], -mean)


def test_every_thread_gets_its_own_answer():
    sizes = []

    def compute(images):
        sizes.append(len(images))
        return means(images)

    batcher = Batcher(compute, largest=8)
    wrong = []

    def ask(seed):
        random = np.random.default_rng(seed)
        for _ in range(20):
            images = random.random((random.integers(1, 12), 28, 28), np.float32)
            if not all(map(np.array_equal, batcher.predict(images), means(images))):
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert max(sizes) <= 11  # one request alone may be larger than a batch


def test_who_comes_meanwhile_is_joined():
    started, go_on = threading.Event(), threading.Event()
    sizes = []

    def compute(images):
        sizes.append(len(images))
        started.set()
        go_on.wait(10)
        return means(images)

    batcher = Batcher(compute, largest=8)
    threads = [threading.Thread(target=batcher.predict, args=(np.zeros((1, 28, 28)),)) for _ in range(10)]
    threads[0].start()
    started.wait(10)
    for thread in threads[1:]:
        thread.start()
    while batcher._waiting.qsize() < 9:
        pass
    go_on.set()
    for thread in threads:
        thread.join()
    assert sizes == [1, 8, 1]


def test_an_error_meets_those_who_asked_and_nobody_after_them():
    def compute(images):
        if images.max() > 1:
            raise ValueError("too bright")
        return means(images)

    batcher = Batcher(compute, largest=8)
    with pytest.raises(ValueError, match="too bright"):
        batcher.predict(np.full((1, 28, 28), 2.0))
    assert batcher.predict(np.ones((1, 28, 28))).scores == [-1]
