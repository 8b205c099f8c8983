from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion.data.batches import (
    PADDING,
    BatchPart,
    EvaluationBatches,
    TrainingBatches,
    as_pipeline,
    epoch_order,
    even_batch_size,
)
from fashion.data.image_rows import ImageRows
from fashion.errors import FashionError


def numbered(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose pixels are their position."""
    numbers = np.arange(count)
    return np.broadcast_to(numbers[:, None, None, None], (count, 28, 28, 1)).astype(np.uint8), numbers % 10


def read(batches) -> list[tuple[np.ndarray, np.ndarray]]:
    pipeline = as_pipeline(batches)
    items = pipeline if keras.backend.backend() == "tensorflow" else (pipeline[i] for i in range(len(pipeline)))
    return [(np.asarray(images), np.asarray(labels)) for images, labels in items]


@pytest.mark.backend
def test_an_epoch_is_a_shuffle_without_the_remainder():
    batches = TrainingBatches(*numbered(107), batch_size=10, seed=0)
    items = read(batches)
    assert [images.shape for images, _ in items] == [(10, 28, 28, 1)] * 10
    seen = np.concatenate([images[:, 0, 0, 0] for images, _ in items])
    assert len(set(seen)) == 100
    assert not np.array_equal(seen, np.sort(seen))
    assert np.array_equal(np.concatenate([labels for _, labels in items]), seen % 10)


@pytest.mark.backend
def test_the_order_depends_on_seed_and_epoch_alone_and_is_equal_on_both_backends():
    batches = TrainingBatches(*numbered(20), batch_size=10, seed=3)
    batches.epoch = 2
    seen = np.concatenate([images[:, 0, 0, 0] for images, _ in read(batches)])
    assert np.array_equal(seen, epoch_order(np.arange(20, dtype=np.int32), 3, 2))
    assert np.array_equal(seen, [19, 2, 9, 16, 0, 4, 12, 13, 1, 7, 3, 6, 5, 18, 10, 17, 8, 14, 11, 15])
    batches.epoch = 0  # a pipeline read again, or an epoch trained again, is the same
    assert [a.tobytes() for a, _ in read(batches)] == [a.tobytes() for a, _ in read(batches)]


def test_epochs_and_seeds_differ():
    rows = np.arange(50, dtype=np.int32)
    orders = {epoch_order(rows, seed, epoch).tobytes() for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.backend
def test_chosen_images_are_read_again_until_an_epoch_is_full():
    batches = TrainingBatches(*numbered(24), batch_size=5, seed=0)
    read(batches)
    chosen = np.array([2, 3, 5, 7, 11, 13, 17, 19], np.int32)
    batches.read_only(chosen)
    items = read(batches)
    assert [len(images) for images, _ in items] == [5] * 4
    seen = np.concatenate([images[:, 0, 0, 0] for images, _ in items])
    assert np.array_equal(np.sort(seen[:8]), chosen)
    assert np.array_equal(np.sort(seen[8:16]), chosen)
    assert len(set(seen[16:])) == 4
    assert not np.array_equal(seen[:8], seen[8:16])


def test_too_few_images_for_a_batch_are_refused():
    with pytest.raises(FashionError, match=r"trainer\.batch_size: got 128, but there are only 90 training images"):
        TrainingBatches(*numbered(90), batch_size=128, seed=0)


@pytest.mark.backend
@pytest.mark.parametrize("count", [1, 10, 37, 100])
def test_evaluation_reads_every_image_once_in_order(count):
    items = read(EvaluationBatches(*numbered(count), max_size=10))
    assert np.array_equal(np.concatenate([images[:, 0, 0, 0] for images, _ in items]), np.arange(count))


@pytest.mark.parametrize(("count", "size"), [(6000, 500), (10_000, 500), (200, 200), (7, 7), (997, 500), (1, 1)])
def test_evaluation_batches_are_of_one_size_where_the_count_allows(count, size):
    assert even_batch_size(count, 500) == size


@pytest.mark.parametrize(("shape", "size"), [((28, 28, 1), 500), ((240, 240, 3), 24), ((2000, 2000, 3), 1)])
def test_large_images_are_evaluated_in_smaller_batches(shape, size):
    images = np.broadcast_to(np.uint8(0), (24_000, *shape))
    assert EvaluationBatches(images, np.zeros(24_000, np.int64)).batch_size == size


@given(st.integers(1, 5000), st.integers(8, 600), st.integers(1, 8))
def test_batches_are_divisible_among_the_devices_and_within_their_bound(count, max_size, devices):
    size = even_batch_size(count * devices, max_size, devices)
    assert 1 <= size <= min(count * devices, max_size)
    assert size % devices == 0
    assert (count * devices) % size % devices == 0


@pytest.mark.backend
@pytest.mark.parametrize("count", [30, 37])
def test_images_in_a_file_are_read_like_an_array(count):
    images, labels = numbered(count)
    rows = ImageRows(images[::-1].copy(), np.arange(count)[::-1].copy())
    for batches in (partial(TrainingBatches, batch_size=10, seed=1), partial(EvaluationBatches, max_size=10)):
        expected, found = read(batches(images, labels)), read(batches(rows, labels))
        assert len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            assert all(map(np.array_equal, one, other))


@pytest.mark.parametrize("count", [1, 7, 13, 24])
def test_processes_read_each_batch_in_parts_and_fill_the_last_one(count):
    whole = [BatchPart(0, 4, 4)], [BatchPart(0, 3, 4), BatchPart(3, 4, 4)]
    one, two = ([read(EvaluationBatches(*numbered(count), max_size=8, part=part)) for part in parts] for parts in whole)
    joined = [tuple(map(np.concatenate, zip(*parts, strict=True))) for parts in zip(*two, strict=True)]
    for (images, labels), (expected_images, expected_labels) in zip(joined, *one, strict=True):
        assert len(images) % 4 == 0
        assert np.array_equal(images, expected_images)
        assert np.array_equal(labels, expected_labels)
    numbers = np.concatenate([labels for _, labels in joined])
    assert np.array_equal(numbers[:count], np.arange(count) % 10)
    assert set(numbers[count:]) <= {PADDING}
    assert len(numbers) == -(-count // 4) * 4


def test_processes_train_on_parts_of_the_same_batches():
    whole = TrainingBatches(*numbered(20), batch_size=8, seed=3)
    parts = [TrainingBatches(*numbered(20), batch_size=8, seed=3, part=BatchPart(*own, 4)) for own in ((0, 1), (1, 4))]
    for index in range(2):
        pieces = [part[index][0] for part in parts]
        assert [len(piece) for piece in pieces] == [2, 6]
        assert np.array_equal(np.concatenate(pieces), whole[index][0])
