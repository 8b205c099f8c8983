"""Atomic writes, and the lock of a folder."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fashion.errors import DiskFullError, FolderBusyError, WriteError

LOCK_FILE = ".lock"

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_USER_FIXABLE = {*_DISK_FULL, errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name and rename it: readers see the old file or the new one, never a part.

    Args:
        path: The file to replace.

    Yields:
        The temporary path: in the same folder, with the same suffix.

    Raises:
        DiskFullError: When the disk or the quota is full; the earlier file is intact.
        WriteError: When the folder is not writable; the earlier file is intact.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with _fixable_errors(path, "file"):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # as on a disk that nothing can be written to
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Write a folder under a temporary name and rename it; the earlier folder is removed at the very end.

    Args:
        path: The folder to replace.

    Yields:
        The temporary path, where there is nothing yet: beside it, with the same suffix.

    Raises:
        DiskFullError: When the disk or the quota is full; the earlier folder is intact.
        WriteError: When the place is not writable; the earlier folder is intact.
    """
    partial, former = (path.with_name(f".{path.stem}.{os.getpid()}.{name}{path.suffix}") for name in ("partial", "old"))
    try:
        with _fixable_errors(path, "folder"):
            yield partial
            if path.exists():
                path.replace(former)
            partial.replace(path)
    finally:
        if former.exists() and not path.exists():  # stopped between the two
            former.replace(path)
        for leftover in (partial, former):
            shutil.rmtree(leftover, ignore_errors=True)


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files and folders of processes that were killed while they wrote to a folder."""
    for partial in folder.glob(".*.partial*"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically; NaN and infinity, which JSON does not have, become null."""
    write_text(path, json.dumps(_strict(content), indent=2) + "\n")


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder; the lock ends with this process, however it ends.

    Raises:
        FolderBusyError: When another process has it.
    """
    with (folder / LOCK_FILE).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusyError(f"{folder}: another process is training there; wait for it or stop it") from None
        yield


@contextlib.contextmanager
def waiting_lock(path: Path, *, shared: bool = False, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock on a file, which is created for it; the lock ends with this process, however it ends.

    Args:
        path: The file; its folder is created too. Where it exists, a shared lock needs no permission to write.
        shared: Whether others may hold it too, as long as all of them share it.
        on_wait: Called once if another process has the lock, before waiting for it.

    Raises:
        OSError: When the file can be neither opened nor created.
    """
    operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            lock = path.open("rb" if shared and path.exists() else "ab")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        with lock:
            try:
                fcntl.flock(lock, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait:
                    on_wait()
                fcntl.flock(lock, operation)
            # Another process may have removed the file while this one waited; whoever comes now makes another one.
            if _is_at(path, lock.fileno()):
                yield
                return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def refuse_busy(folder: Path) -> None:
    """Refuse a folder that another process has locked; nothing is created there.

    Raises:
        FolderBusyError: When another process has it.
    """
    if (folder / LOCK_FILE).exists():
        with exclusive_lock(folder):
            pass


def _strict(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _strict(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_strict(value) for value in content]
    if isinstance(content, float) and content - content != 0:
        return None
    return content


@contextlib.contextmanager
def _fixable_errors(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        number = _fixable_errno(error)
        if number is None:
            raise
        raise (DiskFullError if number in _DISK_FULL else WriteError)(
            f"{path}: cannot be written ({os.strerror(number)}); the earlier {kind}, if any, is intact: "
            "free some space or choose another folder, then resume"
        ) from error


def _fixable_errno(error: OSError) -> int | None:
    """Return the errno of an error that the user can fix; None for any other.

    HDF5 wraps the system's error in its own message: ``... errno = 28, error message = 'No space left ...'``.
    """
    numbers = (each for each in _USER_FIXABLE if error.errno == each or f"errno = {each}," in str(error))
    return next(numbers, None)
