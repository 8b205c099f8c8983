"""What a store of decoded images contains: an SQLite file beside its pixels."""

import contextlib
import errno
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fashion.data.decode_images import Content

SCHEMA = """
CREATE TABLE IF NOT EXISTS contents (
    digest BLOB PRIMARY KEY, pixel_row INTEGER UNIQUE, pixels BLOB NOT NULL, sums BLOB NOT NULL, flaw TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    source TEXT PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, digest BLOB NOT NULL
) WITHOUT ROWID;
"""
ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


class DamagedIndexError(Exception):
    """The index is not what this module wrote: the store has to be made again."""


class FileRecord(NamedTuple):
    """The file that a content was read from.

    Attributes:
        size: In bytes.
        modified: When it was last written, in nanoseconds.
        digest: SHA-256 of its content.
    """

    size: int
    modified: int
    digest: bytes


class StoreIndex:
    """The index of a store. Whoever uses it holds a lock on the store: SQLite's own locks fail on some network disks.

    Args:
        path: The SQLite file.
        writable: Whether to create what is missing; otherwise the file is only read.

    Raises:
        OSError: When the file cannot be read or written; so do the methods.
        DamagedIndexError: When it is no such index; so do the methods.
    """

    def __init__(self, path: Path, writable: bool) -> None:
        with _as_os_error(path):
            mode = "rwc" if writable else "ro"
            self.path = path
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}&nolock=1", uri=True)
            if writable:
                self._connection.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def files(self) -> dict[str, FileRecord]:
        """Return the files whose content is known, by path."""
        with _as_os_error(self.path):
            rows = self._connection.execute("SELECT source, size, modified, digest FROM files")
            return {source: FileRecord(size, modified, digest) for source, size, modified, digest in rows}

    def contents(self) -> dict[bytes, Content]:
        """Return what the contents decode to, by their SHA-256."""
        with _as_os_error(self.path):
            rows = self._connection.execute("SELECT digest, pixel_row, pixels, sums, flaw FROM contents")
            try:
                return {
                    digest: Content(row, pixels, tuple(np.frombuffer(sums, "<i8").tolist()), flaw)
                    for digest, row, pixels, sums, flaw in rows
                }
            except (TypeError, ValueError) as error:  # no sums
                raise DamagedIndexError(str(error)) from error

    def add(self, files: Mapping[str, FileRecord], contents: Iterable[tuple[bytes, Content]]) -> None:
        """Store files and contents, all of them or none."""
        with _as_os_error(self.path), self._connection:
            self._connection.executemany(
                "INSERT INTO contents VALUES (?, ?, ?, ?, ?)",
                (
                    (digest, content.row, content.pixels, np.array(content.sums, "<i8").tobytes(), content.flaw)
                    for digest, content in contents
                ),
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                ((source, *record) for source, record in files.items()),
            )


@contextlib.contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the details
        if code in DAMAGED:
            raise DamagedIndexError(str(error)) from error
        raise OSError(ERRNO.get(code, errno.EIO), str(error), str(path)) from error
