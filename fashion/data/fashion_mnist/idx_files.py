"""The four IDX files of Fashion-MNIST: found or fetched once, verified at every start.

``root`` keeps the verified files, decompressed, so that only the first run asks the other sources.

Neither Keras nor TensorFlow is imported: a command that needs the arrays alone would wait seconds for them.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from fashion.data.fashion_mnist.file_sources import Source, SourceError, folder_sources, network_sources
from fashion.data.idx import IdxError, IdxFile, read_verified
from fashion.errors import InputError
from fashion.files import LOCK_FILE, replacing, waiting_lock

log = logging.getLogger(__name__)

# In the order of IdxArrays.
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

    train_images: UInt8[np.ndarray, "train h w"]
    train_labels: Int[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test h w"]
    test_labels: Int[np.ndarray, " test"]
    digests: dict[str, str]


def load_idx_files(root: Path, download: bool) -> IdxArrays:
    """Return the verified arrays, after completing ``root`` from the first sources that have what it lacks.

    Files in ``root`` may be the IDX files or their ``.gz``. They are hashed at each start (30 ms for all four on
    2 cores), never overwritten and never deleted.

    Args:
        root: Folder of the decompressed files; created when something is to be stored in it.
        download: Whether the network may be used; otherwise only folders of this machine are.

    Raises:
        InputError: A file in ``root`` is truncated, corrupt or not the published one; ``root`` cannot be read or
            written; or no source has one of the files.
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
    train_images, train_labels, test_images, test_labels = (file.array(contents[file]) for file in IDX_FILES)
    return IdxArrays(
        train_images=train_images,
        train_labels=train_labels.astype(np.int64),
        test_images=test_images,
        test_labels=test_labels.astype(np.int64),
        digests={file.name: file.sha256 for file in IDX_FILES},
    )


def _complete(root: Path, contents: dict[IdxFile, bytes], download: bool) -> dict[IdxFile, bytes]:
    """Add what ``contents`` lacks from the sources, in order, and store in ``root`` what is not there yet."""
    contents = dict(contents)
    reasons = [f"{root}: no {file.name} or {file.name}.gz" for file in _missing(contents)[:1]]
    for file, content in _search(folder_sources(), contents, reasons):
        contents[file] = content
    if not download and _missing(contents):
        # Before root is created: a mistyped data.root must not leave an empty folder behind.
        raise _found_nowhere(root, contents, reasons, download)
    with _writing(root):
        # What another process stored while this one waited for the lock need not be fetched again.
        contents |= _read_root(root, _missing(contents))
        for file, content in contents.items():
            _store(root, file, content)
        for file, content in _search(network_sources(), contents, reasons):
            contents[file] = content
            _store(root, file, content)
    if _missing(contents):
        raise _found_nowhere(root, contents, reasons, download)
    return contents


def _missing(contents: dict[IdxFile, bytes]) -> list[IdxFile]:
    return [file for file in IDX_FILES if file not in contents]


def _search(
    sources: Sequence[Source], contents: dict[IdxFile, bytes], reasons: list[str]
) -> Iterator[tuple[IdxFile, bytes]]:
    """Yield what ``contents`` lacks (the caller adds it), and append to ``reasons`` why a source does not have it."""
    for source in sources:
        missing = _missing(contents)
        if not missing:
            return
        try:
            for file, content in source.files(missing):
                log.info("Fashion-MNIST: %s from %s", file.name, source.name)
                yield file, content
        except (SourceError, IdxError) as reason:
            log.info("Fashion-MNIST: not available from %s: %s", source.name, reason)
            reasons.append(f"{source.name}: {reason}")


def _found_nowhere(root: Path, contents: dict[IdxFile, bytes], reasons: list[str], download: bool) -> InputError:
    files = ", ".join(f"{file.name}.gz" for file in _missing(contents))
    remedy = f"put {files} into {root.absolute()}" if download else "set data.download=true"
    return InputError(f"Fashion-MNIST is incomplete and no source has the rest ({'; '.join(reasons)}); {remedy}")


def _read_root(root: Path, files: Sequence[IdxFile]) -> dict[IdxFile, bytes]:
    """Read those of ``files`` that are in ``root``; a wrong file there is an error, not a reason to ask a source."""
    try:
        contents = {file: read_verified(root, file) for file in files}
    except IdxError as flaw:
        raise InputError(f"{flaw}; move or remove that file, and the next run finds or fetches the right one") from None
    return {file: content for file, content in contents.items() if content is not None}


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Create ``root`` and let one process at a time write into it; the others wait."""
    try:
        with waiting_lock(
            root / LOCK_FILE,
            on_wait=lambda: log.info("Fashion-MNIST: waiting for another process that is filling %s", root),
        ):
            yield
    except OSError as error:
        megabytes = sum(file.size for file in IDX_FILES) // 1_000_000
        raise InputError(
            f"Fashion-MNIST cannot be stored in {root.absolute()}: {error.strerror or error}; "
            f"expected a writable folder with {megabytes} MB free, set data.root to one"
        ) from error


def _store(root: Path, file: IdxFile, content: bytes) -> None:
    """Write a file that is not in ``root`` yet, whole or not at all. The caller has the lock."""
    target = root / file.name
    if not target.is_file():
        with replacing(target) as partial:
            partial.write_bytes(content)
