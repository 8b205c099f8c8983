"""Where the files of Fashion-MNIST are available: folders of this machine, Keras's download, Debian's package.

Whatever a source yields is verified by ``fashion.data.idx``, so it makes no difference which one is asked.
"""

import functools
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fashion.data import download
from fashion.data.idx import IdxFile, read_verified, unpack_verified
from fashion.paths import keras_datasets

log = logging.getLogger(__name__)

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
# Where keras.datasets.fashion_mnist.load_data downloads from (Keras 3.15).
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

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
    folders = (DEBIAN_FOLDER, keras_datasets() / "fashion-mnist")
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
            packed = download.fetch(url, max_bytes=file.size + GZIP_OVERHEAD_BYTES)
        except download.DownloadError as error:
            raise SourceError(f"{file.name}.gz: {error}") from error
        yield file, unpack_verified(f"{file.name}.gz", packed, file)


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
        apt_get += ["-o", f"Acquire::{scheme}::Timeout={download.NETWORK_TIMEOUT_SECONDS}"]
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
            timeout=download.FETCH_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} took more than {download.FETCH_TIMEOUT_SECONDS} s") from error
    if result.returncode:
        lines = result.stderr.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), f"exit status {result.returncode}")
        raise SourceError(f"{command[0]}: {last.strip()}")
