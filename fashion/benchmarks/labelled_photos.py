"""Photos with known classes: a folder of photos for each kind of garment, and a mapping from kinds to classes."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from fashion.errors import FashionError, InputError
from fashion.preprocessing import decode
from fashion.preprocessing.formats import FILE_SUFFIXES, accepted

MAPPING = Path(__file__).parent / "photo_folders" / "clothing_dataset.yaml"


class LabelledPhoto(NamedTuple):
    """One photo.

    Attributes:
        path: Its file.
        kind: The name of its folder.
        correct: Indices of the correct classes; empty if none is, so that the model should abstain.
        half: 0 or 1, by a hash of its name: settings are chosen on the first half and confirmed on the second.
    """

    path: Path
    kind: str
    correct: tuple[int, ...]
    half: int


def read_mapping(path: Path, classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return for each kind of garment the indices of the correct classes.

    Raises:
        InputError: When the file cannot be read, or does not map names of folders to lists of the model's classes.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such mapping; name a YAML file of folders and classes") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({error})") from None
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: got {type(content).__name__}, expected lines such as `dress: [Dress]`")
    mapping = {}
    for kind, names in content.items():
        if not isinstance(names, list) or not set(map(str, names)) <= set(classes):
            raise InputError(f"{path}: {kind}: got {names}, expected a list of {', '.join(classes)}, or []")
        mapping[str(kind)] = tuple(classes.index(str(name)) for name in names)
    return mapping


def find_photos(folder: Path, mapping: Mapping[str, tuple[int, ...]]) -> list[LabelledPhoto]:
    """Return the photos of a folder, in the order of the mapping and of their names.

    Raises:
        InputError: When the folder does not exist, has a folder that is not in the mapping, or has no photo of a class.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; expected one that contains folders of photos")
    unmapped = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in mapping)
    if unmapped:
        raise InputError(
            f"{folder}: the mapping does not say which classes are correct for {', '.join(unmapped)}; "
            f"name a YAML file that does with --mapping, in lines such as `{unmapped[0]}: [Dress]`, or [] for none"
        )
    photos = [
        LabelledPhoto(path, kind, correct, hashlib.sha256(path.name.encode()).digest()[-1] % 2)
        for kind, correct in mapping.items()
        if (folder / kind).is_dir()
        for path in sorted((folder / kind).iterdir())
        if path.suffix.lower() in FILE_SUFFIXES
    ]
    if not any(photo.correct for photo in photos):
        raise InputError(
            f"{folder}: contains no photo that has a correct class; expected {accepted()} files in its folders"
        )
    return photos


def readable(photos: Sequence[LabelledPhoto]) -> tuple[list[LabelledPhoto], list[str]]:
    """Separate photos from files that cannot be read.

    Returns:
        The photos, and what is wrong with each other file.

    Raises:
        InputError: When no photo that has a correct class is left.
    """
    kept, wrong = [], {}
    for photo in photos:
        try:
            decode.decode_file(photo.path)
            kept.append(photo)
        except FashionError as error:
            wrong[photo] = str(error)
    if not any(photo.correct for photo in kept):
        first = next(message for photo, message in wrong.items() if photo.correct)
        raise InputError(f"no photo that has a correct class can be read; {first}")
    return kept, list(wrong.values())
