"""Find, fetch and verify the four IDX files of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747).

Every byte that leaves this module had the SHA-256 written below. Where it came from is a matter of convenience:
``root`` itself, Debian's package folder, Keras's cache, Keras's download, or Debian's package unpacked without root.
The verified files are kept decompressed in ``root``, so that only the first run looks further.

Nothing of Keras or TensorFlow is imported: a command that only needs the arrays would wait seconds for them.
"""

import contextlib
import fcntl
import functools
import gzip
import hashlib
import http.client
import io
import logging
import math
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fashion.errors import InputError
from fashion.files import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IdxFile:
    """One file of the data set: its name without ``.gz``, the digest of its decompressed bytes, its array's shape."""

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


# In the order of IdxArrays. The .gz of one file differs between distributors, its decompressed bytes do not.
IDX_FILES = (
    IdxFile(
        "train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", (60_000, 28, 28)
    ),
    IdxFile("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", (60_000,)),
    IdxFile(
        "t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", (10_000, 28, 28)
    ),
    IdxFile("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", (10_000,)),
)

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
# Where keras.datasets.fashion_mnist.load_data downloads from (Keras 3.15).
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

# For the connection and for each read: a machine without a network must hear about it soon.
NETWORK_TIMEOUT_SECONDS = 10
# For one whole file, or for one whole command of apt. The largest file is 26 MB: 90 kB/s are enough.
FETCH_TIMEOUT_SECONDS = 300
# What gzip may add to data that it cannot compress: headers of less than 1 kB and 5 bytes in 16 kB.
GZIP_OVERHEAD_BYTES = 20_000


@dataclass(frozen=True, eq=False)
class IdxArrays:
    """The verified content of the four files. The image arrays are read-only views of the files' bytes.

    Attributes:
        train_images: ``(60000, 28, 28)`` uint8, 0-255.
        train_labels: ``(60000,)`` int64, 0-9.
        test_images: ``(10000, 28, 28)`` uint8, 0-255.
        test_labels: ``(10000,)`` int64, 0-9.
        digests: File name to SHA-256 of the decompressed file.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    digests: dict[str, str]


class _SourceError(Exception):
    """A source cannot give a file; the text is the reason."""


# A source is a name for people and a function that yields the files it is asked for, in order, or raises _SourceError.
# What it yielded before is kept, so an interrupted download goes on where it stopped.
_Source = tuple[str, Callable[[Sequence[IdxFile]], Iterator[tuple[IdxFile, bytes]]]]


def load_idx_files(root: Path, download: bool) -> IdxArrays:
    """Return the verified arrays, after completing ``root`` from the first sources that have what it lacks.

    Files in ``root`` may be the IDX files or their ``.gz``. They are hashed at each start (30 ms for all four on the
    2-core machine of the design), never overwritten and never deleted.

    Args:
        root: Folder that keeps the decompressed files. Created when something is to be stored in it.
        download: Whether the network may be used; otherwise only folders of this machine are.

    Raises:
        InputError: A file in ``root`` is truncated, corrupt or foreign; ``root`` cannot be read or written; or a
            file could be had from no source.
    """
    if not download and not root.exists():
        raise InputError(
            f"data.root: there is no folder {root}, and with data.download=false it must exist; "
            "name the folder that has the data, or set data.download=true"
        )
    contents = _read_root(root, IDX_FILES)
    if _missing(contents) or not all((root / file.name).is_file() for file in IDX_FILES):
        contents = _complete(root, contents, download)
    else:
        log.info("Fashion-MNIST: read from %s", root)
    train_images, train_labels, test_images, test_labels = (_array(file, contents[file]) for file in IDX_FILES)
    return IdxArrays(
        train_images=train_images,
        train_labels=train_labels.astype(np.int64),
        test_images=test_images,
        test_labels=test_labels.astype(np.int64),
        digests={file.name: file.sha256 for file in IDX_FILES},
    )


def _array(file: IdxFile, content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8, offset=len(file.header)).reshape(file.shape)


def _complete(root: Path, contents: dict[IdxFile, bytes], download: bool) -> dict[IdxFile, bytes]:
    """Add what ``contents`` lacks from the other sources, in order, and store in ``root`` what it does not hold yet."""
    contents = dict(contents)
    reasons = [f"{root}: no {file.name} or {file.name}.gz" for file in _missing(contents)[:1]]
    for file, content in _search(_folder_sources(), contents, reasons):
        contents[file] = content
    if not download and _missing(contents):
        # Before root is created: a mistyped data.root must not leave an empty folder behind.
        raise _found_nowhere(root, contents, reasons, download)
    with _writing(root):
        # What another process stored while this one waited for the lock need not be fetched again.
        contents |= _read_root(root, _missing(contents))
        for file, content in contents.items():
            _store(root, file, content)
        for file, content in _search(_network_sources(), contents, reasons):
            contents[file] = content
            _store(root, file, content)
    if _missing(contents):
        raise _found_nowhere(root, contents, reasons, download)
    return contents


def _missing(contents: dict[IdxFile, bytes]) -> list[IdxFile]:
    return [file for file in IDX_FILES if file not in contents]


def _search(
    sources: Sequence[_Source], contents: dict[IdxFile, bytes], reasons: list[str]
) -> Iterator[tuple[IdxFile, bytes]]:
    """Yield what ``contents`` lacks (the caller adds it), and append to ``reasons`` why a source could not give it."""
    for name, source in sources:
        missing = _missing(contents)
        if not missing:
            return
        try:
            for file, content in source(missing):
                log.info("Fashion-MNIST: %s from %s", file.name, name)
                yield file, content
        except _SourceError as reason:
            log.info("Fashion-MNIST: not from %s: %s", name, reason)
            reasons.append(f"{name}: {reason}")


def _found_nowhere(root: Path, contents: dict[IdxFile, bytes], reasons: list[str], download: bool) -> InputError:
    files = ", ".join(f"{file.name}.gz" for file in _missing(contents))
    remedy = f"put {files} into {root.absolute()}" if download else "set data.download=true"
    return InputError(f"Fashion-MNIST is incomplete and was found nowhere ({'; '.join(reasons)}); {remedy}")


# -- sources ----------------------------------------------------------------------------------------------------------


def _folder_sources() -> list[_Source]:
    keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    folders = (DEBIAN_FOLDER, keras_home / "datasets" / "fashion-mnist")
    return [(str(folder), functools.partial(_from_folder, folder)) for folder in folders]


def _network_sources() -> list[_Source]:
    return [(KERAS_URL, _from_keras_url), (f"apt-get download {DEBIAN_PACKAGE}", _from_debian_package)]


def _from_folder(folder: Path, files: Sequence[IdxFile]) -> Iterator[tuple[IdxFile, bytes]]:
    if not os.path.isdir(folder):  # Path.is_dir raises where a folder above may not be entered
        raise _SourceError("no such folder, or closed to this user")
    for file in files:
        content = _read(folder, file)
        if content is None:
            raise _SourceError(f"no {file.name}.gz in it")
        yield file, content


def _from_keras_url(files: Sequence[IdxFile]) -> Iterator[tuple[IdxFile, bytes]]:
    for file in files:
        url = f"{KERAS_URL}{file.name}.gz"
        log.info("Fashion-MNIST: fetching %s", url)
        try:
            with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_SECONDS, context=_tls_context()) as response:
                packed = _receive(response, most_bytes=file.size + GZIP_OVERHEAD_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _SourceError(f"{file.name}.gz: {getattr(error, 'reason', None) or error}") from error
        yield file, _verified(f"{file.name}.gz", _unpack(f"{file.name}.gz", io.BytesIO(packed), file), file)


def _receive(response: IO[bytes], most_bytes: int) -> bytes:
    """Read a response to its end, but neither more bytes than a whole file needs nor for longer than allowed."""
    deadline = time.monotonic() + FETCH_TIMEOUT_SECONDS
    received = bytearray()
    while chunk := response.read1(1 << 16):  # type: ignore[attr-defined]  # read() would wait for a whole chunk
        received += chunk
        if len(received) > most_bytes:
            raise _SourceError(f"the answer is longer than {most_bytes} bytes")
        if time.monotonic() > deadline:
            raise _SourceError(f"{len(received)} bytes came in {FETCH_TIMEOUT_SECONDS} s, too slow to go on")
    return bytes(received)


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if sys.platform == "darwin":
        # Python from python.org finds no certificates of macOS; TensorFlow's dependencies bring a set of them.
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def _from_debian_package(files: Sequence[IdxFile]) -> Iterator[tuple[IdxFile, bytes]]:
    """Fetch Debian's package and unpack it in a temporary folder: nothing is installed, root is not needed."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise _SourceError("this machine has no apt-get or no dpkg-deb")
    try:
        with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as scratch:
            package = _fetch_debian_package(Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            _run(["dpkg-deb", "-x", str(package), str(unpacked)], unpacked.parent)
            yield from _from_folder(unpacked / DEBIAN_FOLDER.relative_to("/"), files)
    except OSError as error:
        raise _SourceError(str(error)) from error


def _fetch_debian_package(folder: Path) -> Path:
    """Download the package into ``folder`` with the machine's package lists or, where it has none, with fresh ones."""
    apt_get = ["apt-get", "-q"]
    for scheme in ("http", "https"):
        apt_get += ["-o", f"Acquire::{scheme}::Timeout={NETWORK_TIMEOUT_SECONDS}"]
    # apt's own user may not enter the temporary folder; the setting is without effect unless root runs this.
    apt_get += ["-o", "APT::Sandbox::User=root"]
    try:
        _run([*apt_get, "download", DEBIAN_PACKAGE], folder)
    except _SourceError:
        # A fresh container has no package lists. A private copy of them needs no root either.
        (folder / "lists" / "partial").mkdir(parents=True)
        apt_get += ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder}"]
        _run([*apt_get, "update"], folder)
        _run([*apt_get, "download", DEBIAN_PACKAGE], folder)
    return next(folder.glob(f"{DEBIAN_PACKAGE}_*.deb"))


def _run(command: list[str], folder: Path) -> None:
    """Run a command in ``folder``; its last line on standard error is the reason when it fails."""
    try:
        result = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=FETCH_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _SourceError(f"{command[0]} took more than {FETCH_TIMEOUT_SECONDS} s") from error
    if result.returncode:
        lines = result.stderr.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), f"exit status {result.returncode}")
        raise _SourceError(f"{command[0]}: {last.strip()}")


# -- files ------------------------------------------------------------------------------------------------------------


def _read_root(root: Path, files: Sequence[IdxFile]) -> dict[IdxFile, bytes]:
    """Read what ``root`` has of ``files``; a wrong file there is an error, not a reason to look on."""
    try:
        contents = {file: _read(root, file) for file in files}
    except _SourceError as flaw:
        raise InputError(f"{flaw}; move or remove that file, and the next run finds or fetches the right one") from None
    return {file: content for file, content in contents.items() if content is not None}


def _read(folder: Path, file: IdxFile) -> bytes | None:
    """Return the verified bytes of ``file`` or of its ``.gz`` in ``folder``, None where it has neither."""
    for path in (folder / file.name, folder / f"{file.name}.gz"):
        try:
            with path.open("rb") as stream:
                packed = path.suffix == ".gz"
                content = _unpack(str(path), stream, file) if packed else stream.read(file.size + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            raise _SourceError(f"{path} cannot be read: {error.strerror}") from error
        return _verified(str(path), content, file)
    return None


def _unpack(name: str, stream: IO[bytes], file: IdxFile) -> bytes:
    """Decompress at most one byte more than ``file`` has: a few kB of gzip can hold gigabytes."""
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return unpacked.read(file.size + 1)
    except EOFError as error:
        raise _SourceError(f"{name} is truncated: its gzip stream has no end") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _SourceError(f"{name} is not an intact gzip file: {error}") from error


def _verified(name: str, content: bytes, file: IdxFile) -> bytes:
    """Return ``content`` if it is ``file``, byte for byte; otherwise say what it seems to be instead."""
    digest = hashlib.sha256(content).hexdigest()
    if digest == file.sha256:
        return content
    if not content.startswith(file.header[: len(content)]):
        start, expected = content[: len(file.header)].hex(), file.header.hex()
        raise _SourceError(f"{name} is a foreign file: it starts with the bytes {start}, expected {expected}")
    if len(content) < file.size:
        raise _SourceError(f"{name} is truncated: it has {len(content)} bytes of data, expected {file.size}")
    if len(content) > file.size:
        raise _SourceError(f"{name} is corrupt: it has more than the {file.size} bytes of data expected")
    raise _SourceError(
        f"{name} is corrupt, or of another data set with the same file names such as MNIST: "
        f"the SHA-256 of its data is {digest}, expected {file.sha256}"
    )


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Create ``root`` and let one process at a time write into it; the others wait."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("Fashion-MNIST: waiting for another process that is filling %s", root)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        megabytes = sum(file.size for file in IDX_FILES) // 1_000_000
        raise InputError(
            f"Fashion-MNIST cannot be stored in {root.absolute()}: {error.strerror or error}; "
            f"expected a writable folder with {megabytes} MB free, set data.root to one"
        ) from error


def _store(root: Path, file: IdxFile, content: bytes) -> None:
    """Write a file that ``root`` does not hold, whole or not at all. The caller has the lock."""
    target = root / file.name
    if not target.is_file():
        with replacing(target) as partial:
            partial.write_bytes(content)
