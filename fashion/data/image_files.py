"""Image files of a folder: ``DIR/CLASS/*``, or ``DIR/train|validation|test/CLASS/*``."""

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from fashion.class_names import UNUSABLE, is_usable
from fashion.data.split import SplitName
from fashion.errors import InputError
from fashion.plural import counted
from fashion.preprocessing.formats import FILE_SUFFIXES

log = logging.getLogger(__name__)

SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
# Images of formats that are not read: in a class folder, such a file is an image that fails, not one to overlook.
OTHER_IMAGE_SUFFIXES = {".gif", ".bmp", ".tif", ".tiff", ".jp2", ".jxl", ".svg", ".psd"}
IMAGE_SUFFIXES = tuple(FILE_SUFFIXES | OTHER_IMAGE_SUFFIXES)
HIDDEN = (".", "__MACOSX", "@eaDir")  # beginnings of names; the last two are left by macOS and by Synology's servers
MAX_SHOWN = 60  # characters of a name that a damaged table may have made long
MAX_NAMED = 5  # of a longer list, in a message


def _existing_folder(path: str) -> str:
    if not os.path.isdir(os.path.expanduser(path)):
        raise PydanticCustomError("folder", "an existing folder")
    return path


def _existing_file(path: str) -> str:
    if not os.path.isfile(os.path.expanduser(path)):
        raise PydanticCustomError("file", "an existing file")
    return path


# Where the images are: checked with the rest of the configuration, before a run has a folder.
ExistingFolder = Annotated[str, AfterValidator(_existing_folder)]
ExistingFile = Annotated[str, AfterValidator(_existing_file)]


class ImageFile(NamedTuple):
    """An image file of a data set.

    Attributes:
        source: Its path in the data set's folder, with ``/`` between folders.
        label: The name of its class.
        split: The split that it is assigned to; None if it is to be drawn at random.
    """

    source: str
    label: str
    split: SplitName | None


def scan_folder(root: Path) -> list[ImageFile]:
    """Return the image files of a folder of class folders, ordered by file name, then by folder.

    Symbolic links are followed, except for loops. Hidden files, and files without the extension of an image format, are
    ignored.

    Raises:
        InputError: When the folder cannot be read, or is not of one of the two layouts.
    """
    top = _Folder.read(root)
    given = {name: _Folder.read(root / name) for name in top.folders if name.lower() in SPLIT_NAMES}
    if not top.folders:
        raise InputError(f"data.root: {root} has no folders, expected one for each class, as in {root / 'cat'}/1.jpg")
    # A class may be called train, but then it has images; a stray image beside class folders does not make it one.
    only_splits = len(given) == len(top.folders)
    has_splits = any(
        SPLIT_NAMES[name.lower()] == "train" and (not folder.images or (folder.folders and only_splits))
        for name, folder in given.items()
    )
    if not has_splits:
        _warn_of_images_outside(root, top)
        files = list(_class_files(root, "", top.folders, split=None))
    else:
        others = [name for name in top.folders if name not in given]
        if others:
            raise InputError(
                f"data.root: {root} has the folders {name_some(given)} and also {name_some(others)}; "
                "expected only train, validation and test"
            )
        files = []
        for name, folder in given.items():
            _warn_of_images_outside(root / name, folder)
            files += _class_files(root, f"{name}/", folder.folders, SPLIT_NAMES[name.lower()])
    return sorted(files, key=_by_file_name)


def name_some(names: Iterable[str]) -> str:
    """Return the first few of some names, and how many more there are."""
    known = list(names)
    more = f" and {len(known) - MAX_NAMED:,} more" if len(known) > MAX_NAMED else ""
    return ", ".join(printable(name) for name in known[:MAX_NAMED]) + more


def printable(name: str) -> str:
    """Return a file's name, with what is not UTF-8 or a control character in it as escapes."""
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in UNUSABLE else letter
        for letter in name
    )


def slug(name: str) -> str:
    """Return a name for file names and addresses: lower-case letters, digits and underscores."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "images"


def class_name(name: str) -> str:
    """Return the name of a class as one spelling: macOS writes an accent as a character of its own."""
    return unicodedata.normalize("NFC", name)


def ordered_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the different labels in natural order: ``class 2`` before ``class 10``.

    Raises:
        InputError: When there are fewer than two, or the name of one has control characters.
    """
    classes = sorted(set(labels), key=natural_key)
    for name in classes:
        if not is_usable(name):
            shown = name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..."
            raise InputError(f"the class {shown!a} needs another name: text without control characters")
    if len(classes) < 2:
        raise InputError(
            f"the data has {'one class, ' + classes[0] if classes else 'no class'}; expected two or more, each with "
            "images of its own"
        )
    folded = Counter(each.casefold() for each in classes)
    twins = [each for each in classes if folded[each.casefold()] > 1]
    if twins:
        log.warning("the names of these classes differ only in case: %s", ", ".join(twins))
    return tuple(classes)


def natural_key(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return the key of a natural sort: digits by their number, letters without regard to case."""
    parts = re.split(r"([0-9]+)", name)  # text and digits take turns
    return [_number_key(part) if number % 2 else part.casefold() for number, part in enumerate(parts)], name


def _number_key(digits: str) -> tuple[int, str]:
    """Return a key that orders numbers of any length; int() refuses those of more than 4,300 digits."""
    significant = digits.lstrip("0")
    return len(significant), significant


class _Folder(NamedTuple):
    """What a folder directly contains, by name and in natural order; hidden entries are left out."""

    folders: list[str]
    images: list[str]
    others: int

    @classmethod
    def read(cls, path: Path) -> "_Folder":
        folders, images, others = [], [], 0
        for entry in _entries(path):
            if _is_folder(entry):
                folders.append(entry.name)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                images.append(entry.name)
            else:
                others += 1
        return cls(sorted(folders, key=natural_key), images, others)


def _entries(path: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            yield from (entry for entry in entries if not entry.name.startswith(HIDDEN))
    except FileNotFoundError:
        raise InputError(f"data.root: there is no folder {path}") from None
    except NotADirectoryError:
        raise InputError(f"data.root: {path} is not a folder") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path | str, error: OSError) -> InputError:
    return InputError(f"data.root: the folder {path} cannot be read ({error.strerror})")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _class_files(root: Path, prefix: str, folders: Sequence[str], split: SplitName | None) -> Iterator[ImageFile]:
    empty, ignored = [], 0
    for name in folders:
        label, found = class_name(name), 0
        for source in _walk(root, f"{prefix}{name}", ()):
            if source.lower().endswith(IMAGE_SUFFIXES):
                found += 1
                yield ImageFile(source, label, split)
            else:
                ignored += 1
        if not found:
            empty.append(f"{prefix}{name}")
    if empty and split in {None, "train"}:
        raise InputError(
            f"data.root: {root} has no image in {name_some(empty)}; each folder is a class, so add images to it or "
            "remove it"
        )
    if ignored:
        log.info("%s: ignored %s without the extension of an image format", root / prefix, counted(ignored, "file"))


def _walk(root: Path, folder: str, parents: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield the files in a folder and its folders, as paths from ``root``."""
    path = f"{root}/{folder}"
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        log.warning("%s links to a folder that contains it; the link is not followed", printable(path))
        return
    for entry in _entries(path):
        if _is_folder(entry):
            yield from _walk(root, f"{folder}/{entry.name}", (*parents, identity))
        else:
            yield f"{folder}/{entry.name}"


def _warn_of_images_outside(path: Path, folder: _Folder) -> None:
    if folder.images:
        log.warning("%s: ignored %s outside the class folders", path, counted(len(folder.images), "image"))


def _by_file_name(file: ImageFile) -> tuple[str, str]:
    folder, _, name = file.source.rpartition("/")
    return name, folder
