"""How well photos by people are answered: this project's way to 28 x 28 pixels beside simpler ones, with one model.

A folder holds a folder of photos for each kind of thing; a mapping says which classes are right for it. Photos are
divided into two halves by their names, so that settings can be chosen on the first and believed on the second.
"""

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from PIL import Image, ImageOps

from fashion import machine
from fashion.errors import FashionError
from fashion.evaluation.metrics import wilson_interval
from fashion.inference import photo
from fashion.inference.photo import Prepared
from fashion.inference.predictor import Predictor

ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}
HALVES = ("first half", "second half")
ABSTAINING = 0.2  # the share of answerable photos at which methods are compared
PACKAGES = ("keras", "jax", "pillow", "numpy", "opencv-python-headless")
SHOWN_SIDE = 120


class Photo(NamedTuple):
    """One photo of the folder.

    Attributes:
        path: Its file.
        kind: The name of the folder it lies in.
        right: Indices of the classes that are right for it; none: only abstaining is.
        half: 0 or 1.
    """

    path: Path
    kind: str
    right: tuple[int, ...]
    half: int


def _grey(picture: Image.Image) -> Prepared:
    """The whole picture, grey and small: what a program does that was only ever shown the data set."""
    grey = ImageOps.exif_transpose(picture).convert("L").resize((photo.SIDE, photo.SIDE), Image.Resampling.BOX)
    return Prepared(np.asarray(grey), ("grey, resized",))


def _negated(picture: Image.Image) -> Prepared:
    return Prepared(255 - _grey(picture).pixels, ("grey, resized, negated",))


WAYS: dict[str, Callable[[Image.Image], Prepared]] = {
    "this project": photo.prepare,
    "the data set's seven steps": _seven_steps,
    "grey, resized": _grey,
    "grey, resized, negated": _negated,
}


def read_mapping(path: Path, classes: list[str]) -> dict[str, tuple[int, ...]]:
    """Return for each kind of thing the indices of the classes that are right for it.

    Raises:
        FashionError: When the file cannot be read, or is not names of folders with lists of the model's classes.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FashionError(f"{path}: there is no such mapping; name a yaml file of folders and classes") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FashionError(f"{path}: cannot be read as YAML ({error})") from None
    if not isinstance(content, dict) or not content:
        raise FashionError(f"{path}: got {type(content).__name__}, expected lines such as `dress: [Dress]`")
    mapping = {}
    for kind, names in content.items():
        if not isinstance(names, list) or not set(map(str, names)) <= set(classes):
            raise FashionError(f"{path}: {kind}: got {names}, expected a list of {', '.join(classes)}, or []")
        mapping[str(kind)] = tuple(classes.index(str(name)) for name in names)
    return mapping


def find(folder: Path, mapping: dict[str, tuple[int, ...]]) -> list[Photo]:
    """Return the photos of a folder, in the order of the mapping and of their names.

    Raises:
        FashionError: When there is no such folder, it has a folder that the mapping does not name, or no photo.
    """
    if not folder.is_dir():
        raise FashionError(f"{folder}: there is no such folder; expected one that holds folders of photos")
    strange = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in mapping)
    if strange:
        raise FashionError(f"{folder}: the mapping does not say what is right for {', '.join(strange)}; add it")
    photos = [
        Photo(path, kind, right, hashlib.sha256(path.name.encode()).digest()[-1] % 2)
        for kind, right in mapping.items()
        if (folder / kind).is_dir()
        for path in sorted((folder / kind).iterdir())
        if path.suffix.lower() in ENDINGS
    ]
    if not any(each.right for each in photos):
        raise FashionError(f"{folder}: holds no photo that has a right answer; expected PNG, JPEG or WebP in folders")
    return photos


def measure(photos: list[Photo], predictor: Predictor, classes: list[str]) -> dict[str, Any]:
    """Answer all photos in each of the ways.

    Args:
        photos: As ``find`` returned them.
        predictor: The model, the same for all ways.
        classes: Its classes.

    Returns:
        The machine; under ``ways``, for each, its ``summary`` of all photos and of each half, the ``confusion`` of
        kinds and classes, ``milliseconds`` and every photo's answer.

    Raises:
        FashionError: When a photo cannot be read.
    """
    predictor.predict(np.zeros((1, photo.SIDE, photo.SIDE), np.uint8))  # compiles
    ways = {}
    for name, prepare in WAYS.items():
        answers, milliseconds = [], []
        for each in photos:
            prepared, seconds = _prepared(each.path, prepare)
            started = time.perf_counter()
            answer = predictor.predict(prepared.pixels[np.newaxis])
            milliseconds.append((1000 * seconds, 1000 * (time.perf_counter() - started)))
            answers.append(_told(each, prepared, answer.probabilities[0], float(answer.scores[0]), predictor))
        ways[name] = {
            **_summaries(answers),
            "confusion": _confusion(answers, classes),
            "milliseconds": dict(
                zip(("prepare", "predict"), (statistics.median(column) for column in zip(*milliseconds)), strict=True)
            ),
            "answers": answers,
        }
    return {
        "machine": {
            **machine.hardware(),
            "versions": machine.versions(PACKAGES),
            "measured": time.strftime("%Y-%m-%d"),
        },
        "classes": classes,
        "ways": ways,
    }


def _prepared(path: Path, prepare: Callable[[Image.Image], Prepared]) -> tuple[Prepared, float]:
    """Return a photo as the model sees it, and the milliseconds that took once the file was decoded."""
    try:
        with path.open("rb") as stream:
            picture = photo.decode(stream)
    except FashionError as error:
        raise FashionError(f"{path}: {error}") from None
    started = time.perf_counter()
    return prepare(picture), 1000 * (time.perf_counter() - started)


def _summary(answers: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """Return how good answers are: all of them, those that the model accepts, and those up to a given score.

    Args:
        answers: As ``measure`` tells them.
        threshold: The score up to which four fifths of the answerable photos of the first half are accepted.
    """
    known = [answer for answer in answers if answer["right"] is not None]
    strange = [answer for answer in answers if answer["right"] is None]
    kinds = sorted({answer["kind"] for answer in known})
    by_kind = {kind: _share(answer["right"] for answer in known if answer["kind"] == kind) for kind in kinds}
    right = sum(answer["right"] for answer in known)
    return {
        "photos": len(answers),
        "macro_accuracy": _share(by_kind.values()),
        "micro_accuracy": right / max(len(known), 1),
        "micro_interval": wilson_interval(right, len(known)) if known else None,
        "by_kind": by_kind,
        "own_threshold": _declining(known, strange, [answer["decision"] == "abstain" for answer in answers], answers),
        "at_20_percent": _declining(known, strange, [answer["score"] > threshold for answer in answers], answers),
    }


def _declining(
    known: list[dict[str, Any]], strange: list[dict[str, Any]], declined: list[bool], answers: list[dict[str, Any]]
) -> dict[str, float | None]:
    turned_down = {id(answer) for answer, no in zip(answers, declined, strict=True) if no}
    accepted = [answer for answer in known if id(answer) not in turned_down]
    return {
        "abstained": 1 - len(accepted) / max(len(known), 1),
        "accuracy_accepted": _share(answer["right"] for answer in accepted),
        "strange_declined": _share(id(answer) in turned_down for answer in strange),
        "right_or_declined": _share(bool(answer["right"]) or id(answer) in turned_down for answer in answers),
    }
