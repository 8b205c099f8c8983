"""Images decoded once: a memory-mapped file of pixels for the files of a folder and the settings that decode them.

A store has a row of pixels for each content that was ever decoded, and an index that says which file has which content.
Rows are only added, and only those in the index are read, so a store can be read while it is extended, and resumed
after its process was killed. A file is identified by its size and modification time; if either differs it is read
again, and decoded only if its content is new. So a renamed or a restored file costs no decoding.
"""

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from jaxtyping import Int64, UInt8
from tqdm import tqdm

from fashion.data import decoding
from fashion.data.cache_space import INDEX, PIXELS, WORKERS_LOCK, make_space
from fashion.data.decode_images import Content, Decoded
from fashion.data.decode_worker import Setup
from fashion.data.image_files import slug
from fashion.data.store_index import DamagedIndexError, FileRecord, StoreIndex
from fashion.errors import DiskFullError, WriteError
from fashion.files import LOCK_FILE, waiting_lock
from fashion.machine import available_cores
from fashion.plural import counted
from fashion.preprocessing.formats import reads_heif
from fashion.preprocessing.input_spec import InputSpec

log = logging.getLogger(__name__)

VERSION = 2  # of the store and of the way from a file to pixels; a new number decodes everything again
SECONDS_BETWEEN_SAVES = 2.0

Status = tuple[int, int]  # size in bytes, modification time in nanoseconds


@dataclass(frozen=True, eq=False)
class StoredImages:
    """The decoded images of some files.

    Attributes:
        pixels: ``(rows, h, w, c)`` uint8, 0-255: the memory-mapped file.
        rows: ``(n,)`` the row of each file's pixels; -1 where the file cannot be read.
        contents: ``(n,)`` numbers of the decoded contents: equal where, and only where, the pixels are.
        sums: ``(n, 2 c)`` sums of each channel's values, 0-255, and of its squared values.
        digests: SHA-256 of each file.
        flaws: Why a file cannot be read, by its number.
    """

    pixels: UInt8[np.ndarray, "rows h w c"]
    rows: Int64[np.ndarray, " n"]
    contents: Int64[np.ndarray, " n"]
    sums: Int64[np.ndarray, "n sums"]
    digests: list[bytes]
    flaws: dict[int, str]


def open_store(root: Path, sources: Sequence[str], spec: InputSpec, cache: Path, max_bytes: int) -> StoredImages:
    """Return the decoded images of some files, after decoding those that the store does not have.

    Of processes that need the same store, one decodes, and the others wait for it.

    Args:
        root: Folder of the files.
        sources: Path of each file, relative to it.
        spec: The size of the images, and how files become such images.
        cache: Folder of all stores.
        max_bytes: Maximum size of all stores together.

    Raises:
        InputError: When the store would be larger than ``max_bytes``.
        WriteError: When the store cannot be written.
    """
    folder = cache / _folder_name(root, spec)
    try:
        return _Store(folder, root, spec).open(sources, functools.partial(make_space, cache, folder, max_bytes))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        kind = DiskFullError if error.errno in {errno.ENOSPC, errno.EDQUOT} else WriteError
        raise kind(
            f"data.cache: decoded images cannot be stored in {folder} ({reason}); set data.cache to a folder on a disk "
            "with free space; images that are already decoded are kept"
        ) from error


def _folder_name(root: Path, spec: InputSpec) -> str:
    """Return a name that differs wherever the pixels may."""
    settings = {
        "version": VERSION,
        "root": os.fsencode(os.path.realpath(root)).hex(),
        "input": spec.model_dump(),
        "pillow": PIL.__version__,
        "heif": reads_heif(),
    }
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    channels = {1: "grey", 3: "rgb"}[spec.channels]
    return f"{slug(root.name)}_{spec.width}x{spec.height}_{channels}_{key}"


class _Store:
    def __init__(self, folder: Path, root: Path, spec: InputSpec) -> None:
        self.folder, self.root, self.spec = folder, root, spec
        self.index, self.pixels = folder / INDEX, folder / PIXELS
        self.row_bytes = spec.height * spec.width * spec.channels
        self.files: dict[str, FileRecord] = {}
        self.contents: dict[bytes, Content] = {}
        self.flaws: dict[str, str] = {}

    def open(self, sources: Sequence[str], make_space: Callable[[int], None]) -> StoredImages:
        statuses, self.flaws = _statuses(self.root, sources)
        if self.index.exists():
            with waiting_lock(self.folder / LOCK_FILE, shared=True, on_wait=self._log_wait):
                if self._read(writable=False) and not self._changed(statuses):
                    return self._stored(sources)
        with waiting_lock(self.folder / LOCK_FILE, on_wait=self._log_wait):
            if not self._read(writable=True):
                self._clear()
            # Another process may have decoded them while this one waited.
            if changed := self._changed(statuses):
                make_space(self.row_bytes * sum(not self._is_known(source, statuses[source]) for source in changed))
                self._decode(changed, statuses)
            return self._stored(sources)

    def _log_wait(self) -> None:
        log.info("%s: waiting for another process that is decoding its images", self.root.name)

    def _read(self, writable: bool) -> bool:
        """Read the index; return whether it is intact, and there is one.

        Only a writable index recovers from a process that was killed while it saved.
        """
        self.files, self.contents = {}, {}
        if not self.index.exists():
            return False
        try:
            with contextlib.closing(StoreIndex(self.index, writable)) as index:
                self.files, self.contents = index.files(), index.contents()
        except DamagedIndexError:
            return False
        except OSError:
            if writable:
                raise
            return False
        return self.pixels.exists() and self.pixels.stat().st_size >= self._next_row() * self.row_bytes

    def _next_row(self) -> int:
        """Return the number of the first row that no content has, nor any row after it."""
        return 1 + max((content.row for content in self.contents.values() if content.row is not None), default=-1)

    def _clear(self) -> None:
        if self.index.exists():
            log.warning("%s is damaged; its images are decoded again", self.folder)
        self.files, self.contents = {}, {}
        for path in (self.index, self.pixels):
            path.unlink(missing_ok=True)

    def _changed(self, statuses: Mapping[str, Status]) -> list[str]:
        """Return the files that are not in the index as they are now."""
        files, contents = self.files, self.contents
        return [
            source
            for source, status in statuses.items()
            if (record := files.get(source)) is None or record[:2] != status or record.digest not in contents
        ]

    def _is_known(self, source: str, status: Status) -> bool:
        """Return whether a changed file probably has a content that is stored: only its modification time differs."""
        record = self.files.get(source)
        return record is not None and record.size == status[0] and record.digest in self.contents

    def _decode(self, changed: Sequence[str], statuses: Mapping[str, Status]) -> None:
        """Read files, decode what is new of their contents, and save all of it from time to time."""
        workers_lock = self.folder / WORKERS_LOCK
        with waiting_lock(workers_lock):  # until the last workers of a process that was killed have ended
            self.pixels.touch()
        size = sum(statuses[source][0] for source in changed)
        workers = min(len(available_cores()) - 1, size // decoding.BYTES_PER_WORKER)
        setup = Setup(str(self.root), self.spec, str(self.pixels), workers_lock, frozenset(self.contents))
        begin = time.monotonic()
        shows_bar = sys.stderr.isatty()
        files = counted(len(changed), "file")
        log.info("%s: reading %s; the images are decoded once, into %s", self.root.name, files, self.folder)
        with (
            contextlib.closing(StoreIndex(self.index, writable=True)) as index,
            contextlib.closing(
                decoding.decode_files(setup, list(enumerate(changed)), self._next_row(), workers)
            ) as chunks,
            tqdm(total=len(changed), desc=self.root.name, unit=" images", disable=not shows_bar) as bar,
        ):
            unsaved = _Unsaved(index, self.pixels)
            try:
                for chunk in chunks:
                    for decoded in chunk:
                        self._add(changed[decoded.number], statuses, decoded, unsaved)
                    bar.update(len(chunk))
                    if unsaved.age() > SECONDS_BETWEEN_SAVES:
                        unsaved.save()
            finally:
                unsaved.save()
        seconds = time.monotonic() - begin
        log.info("%s: %s in %.1f s (%.0f a second)", self.root.name, files, seconds, len(changed) / seconds)

    def _add(self, source: str, statuses: Mapping[str, Status], decoded: Decoded, unsaved: "_Unsaved") -> None:
        if not decoded.digest:
            self.flaws[source] = decoded.content.flaw if decoded.content else ""
            return
        record = FileRecord(*statuses[source], decoded.digest)
        self.files[source] = unsaved.files[source] = record
        if decoded.content and decoded.digest not in self.contents:  # two processes may decode the same content
            self.contents[decoded.digest] = unsaved.contents[decoded.digest] = decoded.content

    def _stored(self, sources: Sequence[str]) -> StoredImages:
        with contextlib.suppress(OSError):
            os.utime(self.index)  # when it was used; on a read-only disk that does not matter
        shape = (self.spec.height, self.spec.width, self.spec.channels)
        count = self.pixels.stat().st_size // self.row_bytes
        pixels = (
            np.memmap(self.pixels, np.uint8, "r", shape=(count, *shape)) if count else np.empty((0, *shape), np.uint8)
        )
        digests, rows, sums, keys = [], [], [], []
        flaws = dict(self.flaws)
        nothing = Content(None, b"", (0,) * (2 * self.spec.channels), "")
        for source in sources:
            record = self.files.get(source) if source not in flaws else None
            content = self.contents[record.digest] if record else nothing
            if content.flaw:
                flaws[source] = content.flaw
            digests.append(record.digest if record else b"")
            rows.append(-1 if content.row is None else content.row)
            keys.append(content.pixels)
            sums.append(content.sums or nothing.sums)
        return StoredImages(
            pixels=pixels,
            rows=np.array(rows, np.int64),
            contents=np.unique(np.array(keys, "S32"), return_inverse=True)[1].astype(np.int64),
            sums=np.array(sums, np.int64).reshape(len(sources), 2 * self.spec.channels),
            digests=digests,
            flaws={number: flaws[source] for number, source in enumerate(sources) if source in flaws},
        )


class _Unsaved:
    """What is decoded but not in the index yet."""

    def __init__(self, index: StoreIndex, pixels: Path) -> None:
        self.index, self.pixels = index, pixels
        self.files: dict[str, FileRecord] = {}
        self.contents: dict[bytes, Content] = {}
        self._saved = time.monotonic()

    def age(self) -> float:
        return time.monotonic() - self._saved

    def save(self) -> None:
        """Write the pixels to the disk before the index says that they are there."""
        with self.pixels.open("rb") as pixels:
            os.fsync(pixels.fileno())
        self.index.add(self.files, self.contents.items())
        self.files.clear()
        self.contents.clear()
        self._saved = time.monotonic()


def _statuses(root: Path, sources: Sequence[str]) -> tuple[dict[str, Status], dict[str, str]]:
    """Return size and modification time of each readable file, and why each other file cannot be read."""
    statuses, flaws = {}, {}
    folder = str(root)
    for source in sources:
        try:
            status = os.stat(f"{folder}/{source}")
            source.encode()
        except UnicodeEncodeError:
            flaws[source] = "has a name that is not UTF-8; rename it"
        except ValueError:
            flaws[source] = "has a name that no file can have: there is a zero byte in it"
        except OSError as error:
            flaws[source] = (
                "there is no such file" if error.errno == errno.ENOENT else f"cannot be read ({error.strerror})"
            )
        else:
            if stat.S_ISREG(status.st_mode):
                statuses[source] = (status.st_size, status.st_mtime_ns)
            else:
                flaws[source] = "is not a file"
    return statuses, flaws
