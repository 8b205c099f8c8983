"""Space for decoded images and features: their folder has a maximum size; what was least recently used goes first."""

import contextlib
import logging
import shutil
from pathlib import Path
from typing import NamedTuple

from fashion.errors import DiskFullError, FolderBusyError, InputError
from fashion.files import LOCK_FILE, exclusive_lock

log = logging.getLogger(__name__)

GIGABYTE = 10**9
# The files of a store, of decoded images (fashion.data.store) or of features (fashion.training.frozen_features).
INDEX, PIXELS, WORKERS_LOCK = "index.sqlite", "pixels.bin", ".workers.lock"
FEATURE_DIGESTS, FEATURES = "digests.bin", "features.bin"


class _Store(NamedTuple):
    used: float
    size: int
    folder: Path


def make_space(cache: Path, folder: Path, max_bytes: int, needed: int, content: str = "decoded images") -> None:
    """Remove stores, the least recently used one first, until another one fits.

    Processes that have images of a removed store open can still read them.

    Args:
        cache: Folder of all stores.
        folder: The store that grows; it is not removed.
        max_bytes: Maximum size of all stores together.
        needed: By how many bytes it grows.
        content: What they hold, for a message.

    Raises:
        InputError: When it would be larger than ``max_bytes`` by itself.
        DiskFullError: When the disk has less space.
    """
    stores = sorted(_store(each) for each in cache.iterdir() if _is_store(each) or each == folder)
    wanted = needed + sum(store.size for store in stores if store.folder == folder)
    if wanted > max_bytes:
        raise InputError(
            f"data.cache_gb: the {content} need {wanted / GIGABYTE:.2f} GB, but data.cache_gb is "
            f"{max_bytes / GIGABYTE:g}; raise it, or lower data.image_size"
        )
    excess = needed + sum(store.size for store in stores) - max_bytes
    for store in stores:
        if excess > 0 and store.folder != folder and _remove(store.folder):
            log.info("removed %s (%.2f GB) to stay within data.cache_gb", store.folder, store.size / GIGABYTE)
            excess -= store.size
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFullError(
            f"data.cache: the {content} need {needed / GIGABYTE:.2f} GB in {cache}, but only "
            f"{free / GIGABYTE:.2f} GB are free there; set data.cache to another disk, or lower data.image_size"
        )


def _is_store(folder: Path) -> bool:
    return any((folder / name).exists() for name in (INDEX, FEATURE_DIGESTS))


def _store(folder: Path) -> _Store:
    """Return when a store was last used, and its size; both from its files."""
    statuses = []
    with contextlib.suppress(FileNotFoundError):  # another process may be removing it
        for path in folder.iterdir():
            statuses.append(path.stat())
    return _Store(
        max((status.st_mtime for status in statuses), default=0.0), sum(status.st_size for status in statuses), folder
    )


def _remove(folder: Path) -> bool:
    """Remove a store that no process is extending or opening, and nothing else that is in its folder."""
    try:
        with exclusive_lock(folder):
            for name in (INDEX, PIXELS, WORKERS_LOCK, FEATURE_DIGESTS, FEATURES, LOCK_FILE):
                (folder / name).unlink(missing_ok=True)
    except (FolderBusyError, OSError):
        return False
    with contextlib.suppress(OSError):  # something else is in it
        folder.rmdir()
    return True
