"""Batches of a split, in an order that depends on the run's seed, the epoch and the images that are read in it.

So a resumed run reads exactly the batches it would have read, on either backend, and no generator state is saved.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from jaxtyping import Int32

from fashion.arrays import Images, Labels
from fashion.data.image_rows import ImageArray, ImageRows
from fashion.data.split import seeded_generator
from fashion.errors import InputError

PREFETCHED_BATCHES = 2
MAX_SIZE = 500  # of a batch of images that are evaluated
# Of its pixels, all channels counted: 24 images of 240 x 240 in colour. A network's first layers take some thirty times
# as many numbers for each of several maps, and more images at once are no faster.
MAX_VALUES = 4 * 2**20
PADDING = -1  # the label of an image that fills a batch; its loss is 0, and no prediction of it is correct


class BatchPart(NamedTuple):
    """What a process reads of every batch, whose images are divided evenly among the devices of all processes.

    Attributes:
        first: Position of the process's first device among all.
        end: Position after its last one.
        devices: How many there are.
    """

    first: int
    end: int
    devices: int

    def rows(self, batch: int, size: int) -> slice:
        """Return the part of batch number ``batch``, of ``size`` images, a multiple of ``devices``."""
        share = size // self.devices
        return slice(batch * size + self.first * share, batch * size + self.end * share)


WHOLE = BatchPart(0, 1, 1)


def epoch_order(rows: Int32[np.ndarray, " rows"], seed: int, epoch: int, passes: int = 1) -> Int32[np.ndarray, " read"]:
    """Return the order in which epoch number ``epoch`` (from 0) reads the images.

    Args:
        rows: Those that are read.
        seed: Seed of the order.
        epoch: Number of the epoch.
        passes: How often each image is read; every pass has an order of its own.
    """
    generator = seeded_generator(seed, epoch)
    return np.concatenate([generator.permutation(rows) for _ in range(passes)])


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled full batches of a training split.

    The images that do not fill a last batch are dropped, different ones in each epoch: a second batch shape would be a
    second compilation of the step, half a minute for EfficientNetB0, to train on 0.2 % more images.

    Args:
        images: ``(n, h, w, c)`` uint8, 0-255.
        labels: ``(n,)`` int64, class numbers.
        batch_size: Images in every batch.
        seed: Seed of the order.
        part: What this process reads of every batch.

    Attributes:
        epoch: The epoch being read, from 0; the training loop sets it before each epoch.

    Raises:
        InputError: When there are fewer images than one batch.
    """

    def __init__(self, images: ImageArray, labels: Labels, batch_size: int, seed: int, part: BatchPart = WHOLE) -> None:
        super().__init__()
        if len(images) < batch_size:
            raise InputError(
                f"trainer.batch_size: got {batch_size}, but there are only {len(images)} training images; "
                "lower trainer.batch_size, or train on more images"
            )
        self.images, self.labels = images, labels
        self.batch_size, self.seed, self.part = batch_size, seed, part
        self.epoch = 0
        self._rows = np.arange(len(images), dtype=np.int32)
        self._ordered_epoch, self._order = -1, np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def __getitem__(self, index: int) -> tuple[Images, Labels]:
        chosen = self.order()[self.part.rows(index, self.batch_size)]
        return self.images[chosen], self.labels[chosen]

    def read_only(self, rows: Int32[np.ndarray, " chosen"]) -> None:
        """Read only these images from now on, as often as it takes to fill an epoch, which stays as long as it was."""
        self._rows, self._ordered_epoch = rows, -1

    @property
    def images_of_a_pass(self) -> int:
        """How many images are read before one of them is read again."""
        return len(self._rows)

    def order(self) -> Int32[np.ndarray, " read"]:
        """Return this epoch's order of the images that fill whole batches."""
        if self._ordered_epoch != self.epoch:
            read = len(self) * self.batch_size
            order = epoch_order(self._rows, self.seed, self.epoch, passes=math.ceil(read / len(self._rows)))
            self._order, self._ordered_epoch = order[:read], self.epoch
        return self._order


class EvaluationBatches(keras.utils.PyDataset):
    """Every image once, in order, in batches of one size where the number of images allows it.

    Where the devices cannot share them evenly, black images labelled ``PADDING`` follow: see
    ``TrainingNetwork.evaluate``.

    Args:
        images: ``(n, h, w, c)`` uint8, 0-255.
        labels: ``(n,)`` int64, class numbers.
        max_size: Largest batch, unless there are more devices; None takes as many images as ``MAX_VALUES`` allows.
        part: What this process reads of every batch.

    Attributes:
        padded: How many images there are with the padding.
    """

    def __init__(
        self, images: ImageArray, labels: Labels, max_size: int | None = None, part: BatchPart = WHOLE
    ) -> None:
        super().__init__()
        if max_size is None:
            max_size = min(MAX_SIZE, max(1, MAX_VALUES // math.prod(images.shape[1:])))
        self.images, self.labels, self.part = images, labels, part
        self.padded = -(-len(images) // part.devices) * part.devices
        self.batch_size = even_batch_size(self.padded, max_size, part.devices)

    def __len__(self) -> int:
        return -(-self.padded // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Images, Labels]:
        begin = index * self.batch_size
        size = min(self.batch_size, self.padded - begin)
        own = self.part.rows(0, size)
        chosen = slice(begin + own.start, begin + own.stop)
        images, labels = self.images[chosen], self.labels[chosen]
        missing = own.stop - own.start - len(images)
        if not missing:
            return images, labels
        padding = np.zeros((missing, *images.shape[1:]), images.dtype)
        return np.concatenate([images, padding]), np.append(labels, np.full(missing, PADDING, labels.dtype))


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
