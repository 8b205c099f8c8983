"""Files of published data sets: found on this machine or downloaded once, and used only with the published digest.

Downloads are stored in ``root``. What is found elsewhere, such as in Keras's cache, is read where it is.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fashion.data.download import DownloadError, fetch
from fashion.errors import InputError
from fashion.files import LOCK_FILE, replacing, waiting_lock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedFile:
    """One file, and how to know it.

    Attributes:
        name: Its name in the folder of the data set.
        digest: Of its content, in hexadecimal digits.
        algorithm: Of the digest.
        url: Where it is published; None where it is published only as a part of another file.
        size: In bytes; a longer file is not read to its end.
        other_names: What it is called in Keras's cache.
    """

    name: str
    digest: str
    size: int
    algorithm: str = "sha256"
    url: str | None = None
    other_names: tuple[str, ...] = ()

    def verify(self, content: bytes, where: object) -> None:
        """Refuse content without the published digest.

        Raises:
            InputError: Saying where it is from.
        """
        found = hashlib.new(self.algorithm, content, usedforsecurity=False).hexdigest()
        if found != self.digest:
            kind = {"sha256": "SHA-256", "md5": "MD5"}[self.algorithm]
            raise InputError(f"{where}: is damaged, or another file: its {kind} is {found}, expected {self.digest}")


def read_folder(folder: Path, files: Sequence[PublishedFile]) -> dict[str, bytes] | None:
    """Return the verified contents of files in a folder, by name; None where one of them is not there.

    Raises:
        InputError: A file cannot be read, or is not the published one.
    """
    paths = [_path(folder, file) for file in files]
    found = [path for path in paths if path is not None]
    if len(found) < len(files):
        return None
    contents = {}
    for file, path in zip(files, found, strict=True):
        try:
            with path.open("rb") as stream:
                content = stream.read(file.size + 1)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        file.verify(content, path)
        contents[file.name] = content
    return contents


def _path(folder: Path, file: PublishedFile) -> Path | None:
    names = (file.name, *file.other_names)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def load(
    title: str, files: Sequence[PublishedFile], root: Path, others: Sequence[Path], *, download: bool
) -> dict[str, bytes]:
    """Return the verified contents of a data set's files, by name.

    Args:
        title: The data set's name, for messages.
        files: Its files.
        root: The folder that keeps them; created when something is to be stored in it.
        others: Folders of other programs that may have all of them.
        download: Whether what is missing may be fetched from the network.

    Raises:
        InputError: A file in ``root`` is not the published one, no folder has the files and they cannot be fetched, or
            ``root`` cannot be written.
    """
    for folder in (root, *others):
        try:
            contents = read_folder(folder, files)
        except InputError as flaw:
            if folder == root:
                raise InputError(f"{flaw}; remove it, or set data.root to another folder") from None
            log.info("%s: %s", title, flaw)
            continue
        if contents is not None:
            log.info("%s: read from %s", title, folder)
            return contents
    names = ", ".join(file.name for file in files)
    places = " or ".join(map(str, (root, *others)))
    if not download:
        raise InputError(
            f"{title}: found no {names} in {places}; put the missing files into {root}, or set data.download=true"
        )
    return _fetch(title, files, root)


def _fetch(title: str, files: Sequence[PublishedFile], root: Path) -> dict[str, bytes]:
    """Fetch the files that ``root`` lacks, one process at a time, and store them there."""
    contents = {}
    try:
        with waiting_lock(root / LOCK_FILE):
            for file in files:
                # Another process may have stored it while this one waited.
                stored = read_folder(root, [file])
                contents[file.name] = stored[file.name] if stored else _fetch_one(title, file, root)
    except OSError as error:
        raise InputError(
            f"{title} cannot be stored in {root} ({error.strerror or error}); set data.root to a folder that can be "
            "written"
        ) from None
    return contents


def _fetch_one(title: str, file: PublishedFile, root: Path) -> bytes:
    remedy = f"put {file.name} into {root}"
    if file.url is None:
        raise InputError(f"{title}: {root / file.name}: there is no such file; {remedy}")
    log.info("%s: fetching %s", title, file.url)
    try:
        content = fetch(file.url, file.size)
    except DownloadError as error:
        raise InputError(f"{title}: {file.url} cannot be fetched ({error}); {remedy}") from None
    file.verify(content, file.url)
    with replacing(root / file.name) as partial:
        partial.write_bytes(content)
    return content
