"""The features of a network whose weights are frozen: computed once for each image, and cached for later runs."""

import functools
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from fashion.arrays import Images
from fashion.data.cache_space import FEATURE_DIGESTS, FEATURES, make_space
from fashion.data.image_rows import ImageArray
from fashion.errors import WriteError
from fashion.files import LOCK_FILE, waiting_lock
from fashion.inference.predictor import compiled
from fashion.models.fast_model import fast_layers

log = logging.getLogger(__name__)

BATCH_SIZE = 32
DIGEST_BYTES = 16
RECORD = np.dtype([("image", f"V{DIGEST_BYTES}"), ("features", f"V{DIGEST_BYTES}")])  # digests of both
IMAGES_PER_SAVE = 512

Features = Float32[np.ndarray, "n d"]


class Cache(NamedTuple):
    """Where features are kept.

    Attributes:
        folder: Folder of all stores; see ``fashion.data.cache_space``.
        max_bytes: Maximum size of all of them together.
    """

    folder: Path
    max_bytes: int


class FrozenFeatures:
    """Computes the features of images, unless they are known.

    An image is identified by its pixels, so the runs of a cross-validation share their features, a mirror image is an
    image like any other, and after a file has changed only its features are computed again.

    Args:
        model: ``(n, h, w, c)`` float32 in [0, 1] to ``(n, d)`` features.
        precision: Of its arithmetic, by Keras's name.
        cache: Where the features are kept; None for nowhere.
    """

    def __init__(self, model: keras.Model, precision: str, cache: Cache | None) -> None:
        self._forward = compiled(fast_layers(model))
        self._shape, self._width = model.input_shape[1:], model.output_shape[-1]
        self._cache = cache
        self._name = f"features_{_key(model, precision)}"

    def __call__(self, images: ImageArray, *, mirrored: bool = False) -> Features:
        """Return the features of ``(n, h, w, c)`` uint8 images, 0-255, or of their mirror images.

        Raises:
            InputError: When they would be larger than the cache may be.
            WriteError: When they cannot be written.
        """
        if self._cache is None:
            return np.concatenate([self._compute(batch) for batch in _batches(images, range(len(images)), mirrored)])
        folder = self._cache.folder / self._name
        try:
            waiting = functools.partial(
                log.info, "waiting for another process that is computing features in %s", folder
            )
            with waiting_lock(folder / LOCK_FILE, on_wait=waiting):
                return self._kept(images, mirrored, folder, self._cache)
        except OSError as error:
            raise WriteError(
                f"data.cache: features cannot be stored in {folder} ({error.strerror}); "
                "set data.cache to a folder on a disk with free space"
            ) from error

    def _kept(self, images: ImageArray, mirrored: bool, folder: Path, cache: Cache) -> Features:
        digests = [_digest(image) for batch in _batches(images, range(len(images)), mirrored) for image in batch]
        known = _read_intact(folder, self._width)
        new = list({digest: number for number, digest in enumerate(digests) if digest not in known}.values())
        size = len(new) * (4 * self._width + RECORD.itemsize)
        make_space(cache.folder, folder, cache.max_bytes, size, content="features")
        begin = time.monotonic()
        with tqdm(total=len(new), desc="features", unit=" images", disable=not sys.stderr.isatty()) as bar:
            for start in range(0, len(new), IMAGES_PER_SAVE):
                numbers = new[start : start + IMAGES_PER_SAVE]
                rows = np.concatenate([self._compute(batch) for batch in _batches(images, numbers, mirrored)])
                records = [digests[number] + _digest(row) for number, row in zip(numbers, rows, strict=True)]
                # The features first: what has no digest does not exist.
                first = len(known)
                _write(folder / FEATURES, first * 4 * self._width, rows.tobytes())
                _write(folder / FEATURE_DIGESTS, first * RECORD.itemsize, b"".join(records))
                known |= {digests[number]: first + index for index, number in enumerate(numbers)}
                bar.update(len(numbers))
        if new:
            seconds = time.monotonic() - begin
            log.info("features of %d images in %.1f s (%.0f a second)", len(new), seconds, len(new) / seconds)
        os.utime(folder / FEATURE_DIGESTS)  # when they were used: see make_space
        kept = np.memmap(folder / FEATURES, np.float32, "r", shape=(len(known), self._width))
        return np.array(kept[[known[digest] for digest in digests]])

    def _compute(self, images: Images) -> Features:
        batch = np.zeros((BATCH_SIZE, *self._shape), np.float32)  # one shape is compiled once
        batch[: len(images)] = images / np.float32(255)
        return np.asarray(self._forward(batch), np.float32)[: len(images)]


def _batches(images: ImageArray, numbers: range | list[int], mirrored: bool) -> Iterator[Images]:
    for start in range(0, len(numbers), BATCH_SIZE):
        batch = np.asarray(images[np.array(numbers[start : start + BATCH_SIZE], np.int64)])
        yield np.ascontiguousarray(batch[:, :, ::-1] if mirrored else batch)


def _key(model: keras.Model, precision: str) -> str:
    """Return a name that differs wherever the features may."""
    digest = hashlib.sha256(
        json.dumps([model.get_config(), precision, keras.backend.backend(), keras.__version__], default=str).encode()
    )
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()[:16]


def _digest(values: np.ndarray) -> bytes:
    return hashlib.blake2b(values.data, digest_size=DIGEST_BYTES).digest()


def _read_intact(folder: Path, width: int) -> dict[bytes, int]:
    """Return the row of each image, by its digest, up to the first whose features are not as they were written."""
    try:
        content, size = (folder / FEATURE_DIGESTS).read_bytes(), (folder / FEATURES).stat().st_size
    except FileNotFoundError:
        return {}
    known: dict[bytes, int] = {}
    if count := min(len(content) // RECORD.itemsize, size // (4 * width)):
        rows = np.memmap(folder / FEATURES, np.float32, "r", shape=(count, width))
        for row, (image, features) in enumerate(np.frombuffer(content, RECORD, count)):
            if features.tobytes() != _digest(rows[row]):
                log.warning("%s is damaged; %d of %d features are computed again", folder, count - row, count)
                break
            known[image.tobytes()] = row
    return known


def _write(path: Path, position: int, content: bytes) -> None:
    """Write at a position, in place of all that follows: what a killed process left there, or what is damaged."""
    path.touch()
    with path.open("r+b") as file:
        file.seek(position)
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
