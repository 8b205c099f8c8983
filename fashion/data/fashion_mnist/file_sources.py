"""Where the files of Fashion-MNIST are available: folders of this machine, Keras's download, Debian's package.

Whatever a source yields is verified by ``fashion.data.idx``, so it makes no difference which one is asked.
"""

import contextlib
import functools
import http.client
import logging
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fashion.data.idx import IdxFile, read_verified, unpack_verified

log = logging.getLogger(__name__)

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
# Where keras.datasets.fashion_mnist.load_data downloads from (Keras 3.15).
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

# For the connection and for each read: without a network the user must learn it soon.
NETWORK_TIMEOUT_SECONDS = 10
# For one whole file, or for one whole command of apt. The largest file is 26 MB: 90 kB/s are enough.
FETCH_TIMEOUT_SECONDS = 300
# What gzip may add to data that it cannot compress: headers of less than 1 kB and 5 bytes in 16 kB.
GZIP_OVERHEAD_BYTES = 20_000


class SourceError(Exception):
    """A source does not have a file, or cannot be reached; the text is the reason."""


class Source(NamedTuple):
    """One place that may have the files.

    Attributes:
        name: What logs and errors call it.
        files: Yields the files it is asked for with their decompressed bytes, in order, or raises ``SourceError`` or
            ``IdxError``. What it yielded before stays valid, so an interrupted download resumes where it stopped.
    """

    name: str
    files: Callable[[Sequence[IdxFile]], Iterator[tuple[IdxFile, bytes]]]


def folder_sources() -> list[Source]:
    """Return the folders of this machine that other programs fill."""
    keras_home = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))
    folders = (DEBIAN_FOLDER, keras_home / "datasets" / "fashion-mnist")
    return [Source(str(folder), functools.partial(_from_folder, folder)) for folder in folders]


def network_sources() -> list[Source]:
    """Return the places to download from."""
    return [Source(KERAS_URL, _from_keras_url), Source(f"apt-get download {DEBIAN_PACKAGE}", _from_debian_package)]


def _from_folder(folder: Path, files: Sequence[IdxFile]) -> Iterator[tuple[IdxFile, bytes]]:
    if not os.path.isdir(folder):  # Path.is_dir raises where a folder above may not be entered
        raise SourceError("no such folder, or not readable by this user")
    for file in files:
        content = read_verified(folder, file)
        if content is None:
            raise SourceError(f"no {file.name}.gz in it")
        yield file, content


def _from_keras_url(files: Sequence[IdxFile]) -> Iterator[tuple[IdxFile, bytes]]:
    for file in files:
        url = f"{KERAS_URL}{file.name}.gz"
        log.info("Fashion-MNIST: fetching %s", url)
        try:
            with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_SECONDS, context=_tls_context()) as response:
                packed = _receive(response, max_bytes=file.size + GZIP_OVERHEAD_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"{file.name}.gz: {getattr(error, 'reason', None) or error}") from error
        yield file, unpack_verified(f"{file.name}.gz", packed, file)


def _receive(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Read a response to its end, but neither more bytes than a whole file needs nor for longer than allowed."""
    deadline = time.monotonic() + FETCH_TIMEOUT_SECONDS
    received = bytearray()
    while chunk := response.read1(1 << 16):  # read() would wait for a whole chunk
        received += chunk
        if len(received) > max_bytes:
            raise SourceError(f"the response is longer than {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise SourceError(f"too slow: {len(received)} bytes in {FETCH_TIMEOUT_SECONDS} s")
    return bytes(received)


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if sys.platform == "darwin":
        # Python from python.org does not find the certificates of macOS; TensorFlow's dependencies include a set.
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def _from_debian_package(files: Sequence[IdxFile]) -> Iterator[tuple[IdxFile, bytes]]:
    """Fetch Debian's package and unpack it in a temporary folder: nothing is installed, root is not needed."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SourceError("this machine has no apt-get or no dpkg-deb")
    try:
        with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as scratch:
            package = _fetch_debian_package(Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            _run(["dpkg-deb", "-x", str(package), str(unpacked)], unpacked.parent)
            yield from _from_folder(unpacked / DEBIAN_FOLDER.relative_to("/"), files)
    except OSError as error:
        raise SourceError(str(error)) from error


def _fetch_debian_package(folder: Path) -> Path:
    """Download the package into ``folder`` with the machine's package lists or, where it has none, with fresh ones."""
    apt_get = ["apt-get", "-q"]
    for scheme in ("http", "https"):
        apt_get += ["-o", f"Acquire::{scheme}::Timeout={NETWORK_TIMEOUT_SECONDS}"]
    # apt's own user may not enter the temporary folder; the setting is without effect unless root runs this.
    apt_get += ["-o", "APT::Sandbox::User=root"]
    try:
        _run([*apt_get, "download", DEBIAN_PACKAGE], folder)
    except SourceError:
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
        raise SourceError(f"{command[0]} took more than {FETCH_TIMEOUT_SECONDS} s") from error
    if result.returncode:
        lines = result.stderr.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), f"exit status {result.returncode}")
        raise SourceError(f"{command[0]}: {last.strip()}")
