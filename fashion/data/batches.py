"""Batches of a split, in an order that depends on the run's seed and the epoch alone.

So a resumed run reads exactly the batches it would have read, on either backend, and no generator state is saved.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from jaxtyping import Int32

from fashion.arrays import Images, Labels
from fashion.data.image_rows import ImageArray, ImageRows
from fashion.data.split import seeded_generator
from fashion.errors import InputError

PREFETCHED_BATCHES = 2


def epoch_order(count: int, seed: int, epoch: int) -> Int32[np.ndarray, " count"]:
    """Return the order in which epoch number ``epoch`` (from 0) reads the images: ``(count,)`` int32."""
    return seeded_generator(seed, epoch).permutation(count).astype(np.int32)


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled full batches of a training split.

    The images that do not fill a last batch are dropped, different ones in each epoch: a second batch shape would be a
    second compilation of the step, half a minute for EfficientNetB0, to train on 0.2 % more images.

    Args:
        images: ``(n, h, w, c)`` uint8, 0-255.
        labels: ``(n,)`` int64, class numbers.
        batch_size: Images in every batch.
        seed: Seed of the order.

    Attributes:
        epoch: The epoch being read, from 0; the training loop sets it before each epoch.

    Raises:
        InputError: When there are fewer images than one batch.
    """

    def __init__(self, images: ImageArray, labels: Labels, batch_size: int, seed: int) -> None:
        super().__init__()
        if len(images) < batch_size:
            raise InputError(
                f"trainer.batch_size: got {batch_size}, but there are only {len(images)} training images; "
                "lower trainer.batch_size or raise data.limit"
            )
        self.images, self.labels = images, labels
        self.batch_size, self.seed = batch_size, seed
        self.epoch = 0
        self._ordered_epoch, self._order = -1, np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def __getitem__(self, index: int) -> tuple[Images, Labels]:
        chosen = self.order()[index * self.batch_size : (index + 1) * self.batch_size]
        return self.images[chosen], self.labels[chosen]

    def order(self) -> Int32[np.ndarray, " read"]:
        """Return this epoch's order of the images that fill whole batches."""
        if self._ordered_epoch != self.epoch:
            order = epoch_order(len(self.images), self.seed, self.epoch)
            self._order, self._ordered_epoch = order[: len(self) * self.batch_size], self.epoch
        return self._order


class EvaluationBatches(keras.utils.PyDataset):
    """Every image once, in order, in batches of one size where the number of images allows it.

    Args:
        images: ``(n, h, w, c)`` uint8, 0-255.
        labels: ``(n,)`` int64, class numbers.
        max_size: Largest batch.
        multiple_of: Number of devices that share every batch.

    Raises:
        InputError: When the images cannot be divided so.
    """

    def __init__(self, images: ImageArray, labels: Labels, max_size: int = 500, multiple_of: int = 1) -> None:
        super().__init__()
        if len(images) % multiple_of:
            raise InputError(
                f"got {len(images)} validation images, expected a multiple of the {multiple_of} devices; "
                "choose data.limit or data.validation_fraction so, or set trainer.distribution=single"
            )
        self.images, self.labels = images, labels
        self.batch_size = even_batch_size(len(images), max_size, multiple_of)

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Images, Labels]:
        chosen = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.images[chosen], self.labels[chosen]


def even_batch_size(count: int, max_size: int, multiple_of: int = 1) -> int:
    """Return the largest batch size up to ``max_size`` that divides ``count``, so that one shape is compiled.

    If only sizes of a quarter of ``max_size`` or less divide it (a prime count, say), it is ``max_size`` itself, and
    the last batch is smaller. Every batch is a multiple of ``multiple_of``, as ``count`` is.
    """
    largest = max(min(count, max_size) // multiple_of, 1) * multiple_of
    for size in range(largest, largest // 4, -multiple_of):
        if count % size == 0:
            return size
    return largest


def as_pipeline(batches: TrainingBatches | EvaluationBatches) -> Any:
    """Return the batches in the form that ``fit`` reads fastest on the current backend.

    On TensorFlow that is a ``tf.data.Dataset``: Python passes it the order once an epoch, and its own threads gather
    and prefetch the images. On JAX it is the batches themselves, and TensorFlow is never imported.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    # The autotuner sleeps twice as long each time, and the end of an epoch waits until it wakes: an epoch of 21 s took
    # 41 s.
    options = tf.data.Options()
    options.autotune.enabled = False
    if isinstance(batches.images, ImageRows):
        return _read_from_file(batches).prefetch(PREFETCHED_BATCHES).with_options(options)
    images, labels = tf.constant(batches.images), tf.constant(batches.labels)
    if isinstance(batches, EvaluationBatches):
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batches.batch_size)
        return dataset.prefetch(PREFETCHED_BATCHES).with_options(options)

    def orders() -> Iterator[np.ndarray]:
        yield batches.order()

    size = batches.batch_size
    order = tf.data.Dataset.from_generator(orders, output_signature=tf.TensorSpec((len(batches) * size,), tf.int32))
    chosen = (
        order.unbatch().batch(size, drop_remainder=True).apply(tf.data.experimental.assert_cardinality(len(batches)))
    )
    gathered = chosen.map(lambda rows: (tf.gather(images, rows), tf.gather(labels, rows)))
    return gathered.prefetch(PREFETCHED_BATCHES).with_options(options)


def _read_from_file(batches: TrainingBatches | EvaluationBatches) -> Any:
    """Return a ``tf.data.Dataset`` of batches that are read from a file, each when it is needed."""
    import tensorflow as tf

    shape = batches.images.shape[1:]

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(len(batches)):
            yield batches[index]

    # One batch shape, where there is one: another would be compiled again.
    size = batches.batch_size if len(batches) * batches.batch_size <= len(batches.images) else None
    signature = (tf.TensorSpec((size, *shape), tf.uint8), tf.TensorSpec((size,), tf.int64))
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
