"""How well photos by people are answered: this project's way to 28 x 28 pixels beside simpler ones, with one model.

A folder holds a folder of photos for each kind of thing; a mapping says which classes are right for it. Photos are
divided into two halves by the digests of their names, so that settings are chosen on the first and believed on the
second.
"""

import base64
import hashlib
import io
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from PIL import Image, ImageOps

from fashion import machine, pages
from fashion.errors import FashionError, InputError
from fashion.inference.predictor import Predictor
from fashion.inference.tta import predict_with_tta
from fashion.preprocessing import decode, product, rgb
from fashion.preprocessing.model_input import INPUT_SIDE, ModelInput
from fashion.preprocessing.prepare import prepare as prepare_image
from fashion.uncertainty.posthoc import also_likely

MAPPING = Path(__file__).parent / "photo_folders" / "clothing_dataset.yaml"
HALVES = ((0, "first half"), (1, "second half"))
ABSTAINING = 0.2  # the share of answerable photos at which ways are compared
PACKAGES = ("keras", "jax", "tensorflow-cpu", "pillow", "numpy", "opencv-python-headless")
SHOWN_SIDE, SHOWN_QUALITY = 120, 70
GROUND = 255  # in the picture of what was cut out


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


def _seven_steps(picture: Image.Image) -> ModelInput:
    return product.fashion_mnist_pipeline(ImageOps.exif_transpose(picture))


def _grey(picture: Image.Image) -> ModelInput:
    """The whole picture, grey and small: what a program does that was only ever shown the data set."""
    grey = ImageOps.exif_transpose(picture).convert("L").resize((INPUT_SIDE, INPUT_SIDE), Image.Resampling.BOX)
    return ModelInput(np.asarray(grey), ("grey, resized",))


def _negated(picture: Image.Image) -> ModelInput:
    return ModelInput(255 - _grey(picture).pixels, ("grey, resized, negated",))


OURS = "this project"
WAYS: dict[str, Callable[[Image.Image], ModelInput]] = {
    OURS: prepare_image,
    "the data set's seven steps": _seven_steps,
    "grey, resized": _grey,
    "grey, resized, negated": _negated,
}


def read_mapping(path: Path, classes: list[str]) -> dict[str, tuple[int, ...]]:
    """Return for each kind of thing the indices of the classes that are right for it.

    Raises:
        InputError: When the file cannot be read, or is not names of folders with lists of the model's classes.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such mapping; name a yaml file of folders and classes") from None
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


def find(folder: Path, mapping: dict[str, tuple[int, ...]]) -> list[Photo]:
    """Return the photos of a folder, in the order of the mapping and of their names.

    Raises:
        InputError: When there is no such folder, it has a folder that the mapping does not name, or no photo.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; expected one that holds folders of photos")
    strange = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in mapping)
    if strange:
        raise InputError(
            f"{folder}: the mapping does not say which classes are right for {', '.join(strange)}; "
            f"name a YAML file that does with --mapping, in lines such as `{strange[0]}: [Dress]`, or [] for none"
        )
    photos = [
        Photo(path, kind, right, hashlib.sha256(path.name.encode()).digest()[-1] % 2)
        for kind, right in mapping.items()
        if (folder / kind).is_dir()
        for path in sorted((folder / kind).iterdir())
        if path.suffix.lower() in decode.FILE_SUFFIXES
    ]
    if not any(each.right for each in photos):
        raise InputError(f"{folder}: holds no photo that has a right answer; expected PNG, JPEG or WebP in folders")
    return photos


def readable(photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    """Tell photos from files that cannot be read.

    Returns:
        The photos, and for each other file what is wrong with it.

    Raises:
        InputError: When no photo that has a right answer is left.
    """
    kept, wrong = [], {}
    for each in photos:
        try:
            _decoded(each.path)
            kept.append(each)
        except FashionError as error:
            wrong[each] = str(error)
    if not any(each.right for each in kept):
        first = next(message for each, message in wrong.items() if each.right)
        raise InputError(f"no photo that has a right answer can be read; {first}")
    return kept, list(wrong.values())


def measure(photos: list[Photo], predictor: Predictor, classes: list[str]) -> dict[str, Any]:
    """Answer all photos in each of the ways.

    Args:
        photos: As ``readable`` returned them.
        predictor: The model, the same for all ways.
        classes: Its classes.

    Returns:
        The machine, the classes, and under ``ways``, for each way, a summary of all photos and of each half,
        ``confusion`` (for each kind, how often each class was answered), ``milliseconds`` and ``answers``.

    Raises:
        InputError: When a photo cannot be read.
    """
    predictor.predict(np.zeros((1, INPUT_SIDE, INPUT_SIDE), np.uint8))  # compiles
    return {
        "machine": machine.described(PACKAGES),
        "classes": classes,
        "abstaining": ABSTAINING,
        "ways": {name: _way(photos, predictor, prepare) for name, prepare in WAYS.items()},
    }


def _way(photos: list[Photo], predictor: Predictor, prepare: Callable[[Image.Image], ModelInput]) -> dict[str, Any]:
    answers = [_answer(each, predictor, prepare) for each in photos]
    # From here on four fifths of the answerable photos of the first half are accepted.
    known = [answer["score"] for answer in answers if answer["right"] is not None]
    first = [answer["score"] for answer in answers if answer["right"] is not None and answer["half"] == 0]
    threshold = float(np.quantile(first or known, 1 - ABSTAINING))
    kinds = dict.fromkeys(answer["kind"] for answer in answers)
    return {
        "all": _summary(answers, threshold),
        **{name: _summary([each for each in answers if each["half"] == half], threshold) for half, name in HALVES},
        "confusion": {
            kind: dict(Counter(answer["answer"] for answer in answers if answer["kind"] == kind)) for kind in kinds
        },
        "milliseconds": {
            name: statistics.median(answer["milliseconds"][name] for answer in answers)
            for name in ("decode", "prepare", "predict")
        },
        "answers": answers,
    }


def _answer(each: Photo, predictor: Predictor, prepare: Callable[[Image.Image], ModelInput]) -> dict[str, Any]:
    times = [time.perf_counter()]
    picture = _decoded(each.path)
    times.append(time.perf_counter())
    prepared = prepare(picture)
    times.append(time.perf_counter())
    # All ways are taken for photos: none of them is to lose by odds or a doubt that are not for it.
    answer = predict_with_tta([prepared], predictor.predict)
    times.append(time.perf_counter())
    probabilities = answer.photo_probabilities[0]
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    named = [int(first), *also_likely(probabilities)]
    judgement = predictor.uncertainty.judge(answer, 0, photo=True)
    return {
        "photo": f"{each.kind}/{each.path.name}",
        "kind": each.kind,
        "half": each.half,
        "answer": int(first),
        "second": int(second),
        "confidence": float(probabilities[first]),
        "right": int(first) in each.right if each.right else None,
        "named": named,
        "right_named": not set(named).isdisjoint(each.right) if each.right else None,
        "score": judgement.score,
        "decision": judgement.decision,
        "steps": list(prepared.steps),
        "milliseconds": dict(zip(("decode", "prepare", "predict"), 1000 * np.diff(times), strict=True)),
    }


def _decoded(path: Path) -> Image.Image:
    try:
        with path.open("rb") as stream:
            return decode.decode(stream)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except FashionError as error:
        raise InputError(f"{path}: {error}") from None


def _summary(answers: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """Return how good answers are: all of them, those that the model accepts, and those up to a score."""
    known = [answer for answer in answers if answer["right"] is not None]
    kinds = dict.fromkeys(answer["kind"] for answer in known)
    by_kind = {kind: _share([answer["right"] for answer in known if answer["kind"] == kind]) for kind in kinds}
    return {
        "photos": len(answers),
        "answerable": len(known),
        "macro_accuracy": _share(list(by_kind.values())),
        "micro_accuracy": _share([answer["right"] for answer in known]),
        "right_named": _share([answer["right_named"] for answer in known]),
        "names": _share([len(answer["named"]) for answer in known]),
        "by_kind": by_kind,
        "own_threshold": _declining(answers, [answer["decision"] == "abstain" for answer in answers]),
        "at_abstaining": _declining(answers, [answer["score"] > threshold for answer in answers]),
    }


def _declining(answers: list[dict[str, Any]], declined: list[bool]) -> dict[str, float | None]:
    rows = list(zip(answers, declined, strict=True))
    return {
        "abstained": _share([no for answer, no in rows if answer["right"] is not None]),
        "accuracy_accepted": _share([answer["right"] for answer, no in rows if answer["right"] is not None and not no]),
        "strange_declined": _share([no for answer, no in rows if answer["right"] is None]),
        "right_or_declined": _share([no or bool(answer["right"]) for answer, no in rows]),
    }


def _share(values: list[Any]) -> float | None:
    """Return the mean; None of nothing."""
    return float(np.mean(values)) if values else None


def table(result: dict[str, Any]) -> str:
    """Return the result as the lines that a terminal shows."""
    ways, classes = result["ways"], result["classes"]
    ours = ways[OURS]
    lines = [
        machine.in_one_line(result["machine"]),
        f"{ours['all']['photos']} photos, {ours['all']['answerable']} with a right answer",
        "",
        f"{'accuracy':<29}macro   micro   {HALVES[0][1]}   {HALVES[1][1]}   ms",
    ]
    for name, way in ways.items():
        shares = [way["all"]["macro_accuracy"], way["all"]["micro_accuracy"]]
        halves = [way[half]["macro_accuracy"] for _, half in HALVES]
        lines.append(
            f"{name:<27}" + "".join(f"{_percent(share):>8}" for share in shares)
            + f"{_percent(halves[0]):>13}{_percent(halves[1]):>14}{sum(way['milliseconds'].values()):>7.1f}"
        )  # fmt: skip
    lines += ["", f"{'declining':<32}declined  right of the accepted  strange declined  right or declined"]
    for title, key in (("model's threshold", "own_threshold"), (f"at {ABSTAINING:.0%}", "at_abstaining")):
        for name in ("all", *(half for _, half in HALVES)):
            told = ours[name][key]
            columns = ("abstained", "accuracy_accepted", "strange_declined", "right_or_declined")
            cells = [_percent(told[column]) for column in columns]
            lines.append(f"{f'{title}, {name}':<32}{cells[0]:>8}{cells[1]:>23}{cells[2]:>18}{cells[3]:>19}")
    told = ours["all"]
    lines += ["", f"right among the {told['names']:.2f} names of an answer: {_percent(told['right_named'])}"]
    lines += ["", f"{'answered':<14}" + "".join(f"{name[:7]:>8}" for name in classes)]
    for kind, counts in ours["confusion"].items():
        lines.append(f"{kind:<14}" + "".join(f"{counts.get(number, 0) or '':>8}" for number in range(len(classes))))
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def sheet(photos: list[Photo], result: dict[str, Any]) -> str:
    """Return a page that shows each photo, what was cut out of it, its 28 x 28 pixels and the answer."""
    kinds: dict[str, list[dict[str, str]]] = {}
    for each, answer in zip(photos, result["ways"][OURS]["answers"], strict=True):
        kinds.setdefault(each.kind, []).append(_card(each, answer, result["classes"]))
    return pages.rendered("fashion.benchmarks", "photos.html", kinds=kinds)


def _card(each: Photo, answer: dict[str, Any], classes: list[str]) -> dict[str, str]:
    picture = _decoded(each.path)
    prepared = prepare_image(picture)  # turns it upright
    shown = rgb.reduced(picture, SHOWN_SIDE)
    cut = np.asarray(shown)
    if prepared.mask is not None:
        mask = Image.fromarray(prepared.mask).resize(shown.size)
        cut = np.where(np.asarray(mask)[..., np.newaxis], cut, GROUND).astype(np.uint8)
    declined = answer["decision"] == "abstain"
    right = declined if answer["right"] is None else answer["right"]
    return {
        "name": each.path.name,
        "photo": _data_url(shown),
        "cut": _data_url(Image.fromarray(cut)),
        "seen": _data_url(Image.fromarray(prepared.pixels), "PNG"),
        "answer": classes[answer["answer"]],
        "second": classes[answer["second"]],
        "confidence": f"{answer['confidence']:.0%}",
        "steps": "; ".join(answer["steps"]),
        "verdict": ("right" if right else "wrong") + (" declined" if declined else ""),
    }


def _data_url(picture: Image.Image, kind: str = "JPEG") -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, quality=SHOWN_QUALITY)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
