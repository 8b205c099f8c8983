"""IDX files, the format of MNIST: read packed or not, and verified by size and SHA-256 before anything is used."""

import gzip
import hashlib
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class IdxFile:
    """One published file: an IDX header and a uint8 array.

    Attributes:
        name: Its name, without ``.gz``.
        sha256: Digest of its decompressed bytes. The ``.gz`` differs between distributors, these bytes do not.
        shape: Shape of the array.
    """

    name: str
    sha256: str
    shape: tuple[int, ...]

    @property
    def header(self) -> bytes:
        """The IDX header of a uint8 array of this shape: two zeros, type 8, the rank, the big-endian lengths."""
        return bytes((0, 0, 8, len(self.shape))) + np.array(self.shape, ">u4").tobytes()

    @property
    def size(self) -> int:
        """Length of the decompressed file in bytes."""
        return len(self.header) + math.prod(self.shape)

    def array(self, content: bytes) -> np.ndarray:
        """Return the array in the decompressed bytes of the file: a read-only view of ``shape``, uint8."""
        return array(content)


def array(content: bytes) -> np.ndarray:
    """Return the array in the decompressed bytes of a verified file: a read-only view, uint8."""
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


class IdxError(Exception):
    """A file that is there cannot be read or is not the published one; the text says what is wrong with it."""


def read_verified(folder: Path, file: IdxFile) -> bytes | None:
    """Return the decompressed bytes of ``file`` or of its ``.gz`` in ``folder``, None where it has neither.

    Raises:
        IdxError: It cannot be read, is truncated or corrupt, or is another file.
    """
    for path in (folder / file.name, folder / f"{file.name}.gz"):
        try:
            with path.open("rb") as stream:
                packed = path.suffix == ".gz"
                content = _unpack(str(path), stream, file) if packed else stream.read(file.size + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            raise IdxError(f"{path} cannot be read: {error.strerror}") from error
        return _verified(str(path), content, file)
    return None


def unpack_verified(name: str, packed: bytes, file: IdxFile) -> bytes:
    """Return the decompressed bytes of a ``.gz`` that is called ``name`` in errors.

    Raises:
        IdxError: It is truncated or corrupt, or is another file.
    """
    return _verified(name, _unpack(name, io.BytesIO(packed), file), file)


def _unpack(name: str, stream: io.BufferedIOBase, file: IdxFile) -> bytes:
    """Decompress at most one byte more than ``file`` has: a few kB of gzip can expand to gigabytes."""
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return unpacked.read(file.size + 1)
    except EOFError as error:
        raise IdxError(f"{name} is truncated: its gzip stream has no end") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise IdxError(f"{name} is not an intact gzip file: {error}") from error


def _verified(name: str, content: bytes, file: IdxFile) -> bytes:
    """Return ``content`` if it is ``file``, byte for byte; otherwise say what it seems to be instead."""
    digest = hashlib.sha256(content).hexdigest()
    if digest == file.sha256:
        return content
    if not content.startswith(file.header[: len(content)]):
        start, expected = content[: len(file.header)].hex(), file.header.hex()
        raise IdxError(f"{name} is not the published file: it starts with the bytes {start}, expected {expected}")
    if len(content) < file.size:
        raise IdxError(f"{name} is truncated: it has {len(content)} bytes of data, expected {file.size}")
    if len(content) > file.size:
        raise IdxError(f"{name} is corrupt: it has more than the {file.size} bytes of data expected")
    raise IdxError(
        f"{name} is corrupt, or of another data set with the same file names such as MNIST: "
        f"the SHA-256 of its data is {digest}, expected {file.sha256}"
    )
