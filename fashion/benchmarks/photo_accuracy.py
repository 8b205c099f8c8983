"""Accuracy on photos taken by people: this project's preprocessing compared with simpler ones, with one model."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from PIL import Image

from fashion import machine
from fashion.benchmarks.labelled_photos import LabelledPhoto
from fashion.inference.predictor import Predictor
from fashion.inference.tta import predict_with_tta
from fashion.preprocessing.decode import decode_file
from fashion.preprocessing.fashion_mnist import prepare, product
from fashion.preprocessing.fashion_mnist.spec import INPUT_SIDE
from fashion.preprocessing.model_input import ModelInput
from fashion.uncertainty.posthoc import also_likely

Preprocess = Callable[[Image.Image], ModelInput]

HALVES = ((0, "first half"), (1, "second half"))
ABSTENTION_RATE = 0.2  # of the photos that have a correct class; every way of preprocessing is also compared at this
PACKAGES = ("keras", "jax", "tensorflow-cpu", "pillow", "numpy", "opencv-python-headless")


class Milliseconds(TypedDict):
    """Time for one photo."""

    decode: float
    prepare: float
    predict: float


class Answer(TypedDict):
    """The prediction for one photo: classes are indices; what depends on the correct class is None where there is none.

    ``named`` has the predicted class and those nearly as probable; ``correct_named`` is whether a correct one is named.
    """

    photo: str
    kind: str
    half: int
    answer: int
    second: int
    confidence: float
    correct: bool | None
    named: list[int]
    correct_named: bool | None
    score: float
    decision: str
    steps: list[str]
    milliseconds: Milliseconds


class AbstentionShares(TypedDict):
    """Shares at one threshold; None where there is no such photo."""

    abstained: float | None
    accuracy_accepted: float | None
    ood_abstained: float | None
    correct_or_abstained: float | None


class PhotoSummary(TypedDict):
    """Accuracy over some photos; macro is the mean over kinds, micro over photos."""

    photos: int
    answerable: int
    macro_accuracy: float | None
    micro_accuracy: float | None
    correct_named: float | None
    names: float | None
    by_kind: dict[str, float | None]
    at_own_threshold: AbstentionShares
    at_equal_abstention: AbstentionShares


class WayResult(TypedDict):
    """One way of preprocessing: ``summaries`` by set of photos, ``confusion`` counts by kind and predicted class."""

    summaries: dict[str, PhotoSummary]
    confusion: dict[str, dict[int, int]]
    milliseconds: Milliseconds
    answers: list[Answer]


class PhotoAccuracy(TypedDict):
    """The result of the benchmark."""

    machine: machine.MachineDescription
    classes: list[str]
    abstention_rate: float
    ways: dict[str, WayResult]


def _seven_steps(image: Image.Image) -> ModelInput:
    return product.fashion_mnist_pipeline(image)


def _grey(image: Image.Image) -> ModelInput:
    """The whole image in greyscale, reduced: what a program does that was written for the data set alone."""
    grey = image.convert("L").resize((INPUT_SIDE, INPUT_SIDE), Image.Resampling.BOX)
    return ModelInput(np.asarray(grey)[..., np.newaxis], ("grey, resized",))


def _negated(image: Image.Image) -> ModelInput:
    return ModelInput(255 - _grey(image).pixels, ("grey, resized, negated",))


OURS = "this project"
WAYS: dict[str, Preprocess] = {
    OURS: prepare,
    "the data set's seven steps": _seven_steps,
    "grey, resized": _grey,
    "grey, resized, negated": _negated,
}


def measure(photos: Sequence[LabelledPhoto], predictor: Predictor, classes: Sequence[str]) -> PhotoAccuracy:
    """Classify all photos, preprocessed in each of the ways.

    Args:
        photos: As ``readable`` returns them.
        predictor: The model, the same for all ways.
        classes: Its classes.

    Raises:
        InputError: When a photo cannot be read.
    """
    predictor.predict(np.zeros((1, INPUT_SIDE, INPUT_SIDE, 1), np.uint8))  # compiles
    return {
        "machine": machine.describe_machine(PACKAGES),
        "classes": list(classes),
        "abstention_rate": ABSTENTION_RATE,
        "ways": {name: _measure_way(photos, predictor, preprocess) for name, preprocess in WAYS.items()},
    }


def _measure_way(photos: Sequence[LabelledPhoto], predictor: Predictor, preprocess: Preprocess) -> WayResult:
    answers = [_answer(photo, predictor, preprocess) for photo in photos]
    # The threshold at which the model abstains on a fifth of the first half's answerable photos.
    answerable = [answer for answer in answers if answer["correct"] is not None]
    first_half = [answer for answer in answerable if answer["half"] == 0]
    threshold = float(np.quantile([answer["score"] for answer in first_half or answerable], 1 - ABSTENTION_RATE))
    halves = {name: [answer for answer in answers if answer["half"] == half] for half, name in HALVES}
    kinds = dict.fromkeys(answer["kind"] for answer in answers)
    return {
        "summaries": {name: summarise(chosen, threshold) for name, chosen in {"all": answers, **halves}.items()},
        "confusion": {
            kind: dict(Counter(answer["answer"] for answer in answers if answer["kind"] == kind)) for kind in kinds
        },
        "milliseconds": {
            "decode": statistics.median(answer["milliseconds"]["decode"] for answer in answers),
            "prepare": statistics.median(answer["milliseconds"]["prepare"] for answer in answers),
            "predict": statistics.median(answer["milliseconds"]["predict"] for answer in answers),
        },
        "answers": answers,
    }


def _answer(photo: LabelledPhoto, predictor: Predictor, preprocess: Preprocess) -> Answer:
    times = [time.perf_counter()]
    image = decode_file(photo.path)
    times.append(time.perf_counter())
    prepared = preprocess(image)
    times.append(time.perf_counter())
    # Every way is treated as a photo, so that none is at a disadvantage by priors or a score that are not for it.
    prediction = predict_with_tta([prepared], predictor.predict)
    times.append(time.perf_counter())
    probabilities = prediction.photo_probabilities[0]
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    named = [int(first), *also_likely(probabilities)]
    judgement = predictor.uncertainty.judge(prediction, 0, photo=True)
    decode_ms, prepare_ms, predict_ms = (1000 * float(seconds) for seconds in np.diff(times))
    return {
        "photo": f"{photo.kind}/{photo.path.name}",
        "kind": photo.kind,
        "half": photo.half,
        "answer": int(first),
        "second": int(second),
        "confidence": float(probabilities[first]),
        "correct": int(first) in photo.correct if photo.correct else None,
        "named": named,
        "correct_named": not set(named).isdisjoint(photo.correct) if photo.correct else None,
        "score": judgement.score,
        "decision": judgement.decision,
        "steps": list(prepared.steps),
        "milliseconds": {"decode": decode_ms, "prepare": prepare_ms, "predict": predict_ms},
    }


def summarise(answers: Sequence[Answer], threshold: float) -> PhotoSummary:
    """Return the accuracy of answers, and of those that are accepted.

    Args:
        answers: Some of the answers of one way.
        threshold: Highest score that is accepted for ``at_equal_abstention``.
    """
    answerable = [answer for answer in answers if answer["correct"] is not None]
    kinds = dict.fromkeys(answer["kind"] for answer in answerable)
    by_kind = {kind: _mean([answer["correct"] for answer in answerable if answer["kind"] == kind]) for kind in kinds}
    return {
        "photos": len(answers),
        "answerable": len(answerable),
        "macro_accuracy": _mean(list(by_kind.values())),
        "micro_accuracy": _mean([answer["correct"] for answer in answerable]),
        "correct_named": _mean([answer["correct_named"] for answer in answerable]),
        "names": _mean([len(answer["named"]) for answer in answerable]),
        "by_kind": by_kind,
        "at_own_threshold": _abstention(answers, [answer["decision"] == "abstain" for answer in answers]),
        "at_equal_abstention": _abstention(answers, [answer["score"] > threshold for answer in answers]),
    }


def _abstention(answers: Sequence[Answer], abstained: Sequence[bool]) -> AbstentionShares:
    rows = [(answer["correct"], abstains) for answer, abstains in zip(answers, abstained, strict=True)]
    return {
        "abstained": _mean([abstains for correct, abstains in rows if correct is not None]),
        "accuracy_accepted": _mean([correct for correct, abstains in rows if correct is not None and not abstains]),
        "ood_abstained": _mean([abstains for correct, abstains in rows if correct is None]),
        "correct_or_abstained": _mean([abstains or bool(correct) for correct, abstains in rows]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of numbers or truth values; None if there are none."""
    return float(np.mean([value for value in values if value is not None])) if values else None


def table(result: PhotoAccuracy) -> str:
    """Return the result as the lines that a terminal shows."""
    ways, classes = result["ways"], result["classes"]
    ours = ways[OURS]
    everything = ours["summaries"]["all"]
    lines = [
        machine.summarise_machine(result["machine"], result["machine"]["versions"]),
        f"{everything['photos']} photos, {everything['answerable']} of one of the classes",
        "",
        f"{'accuracy':<29}macro   micro   {HALVES[0][1]}   {HALVES[1][1]}   ms",
    ]
    for name, way in ways.items():
        summary = way["summaries"]["all"]
        halves = [way["summaries"][half]["macro_accuracy"] for _, half in HALVES]
        milliseconds = way["milliseconds"]["decode"] + way["milliseconds"]["prepare"] + way["milliseconds"]["predict"]
        lines.append(
            f"{name:<27}{_percent(summary['macro_accuracy']):>8}{_percent(summary['micro_accuracy']):>8}"
            f"{_percent(halves[0]):>13}{_percent(halves[1]):>14}{milliseconds:>7.1f}"
        )
    lines += ["", f"{'abstention':<32}abstained  accuracy of accepted  OOD abstained  correct or abstained"]
    for name, summary in ours["summaries"].items():
        lines.append(_abstention_row(f"model's threshold, {name}", summary["at_own_threshold"]))
    for name, summary in ours["summaries"].items():
        lines.append(_abstention_row(f"at {ABSTENTION_RATE:.0%}, {name}", summary["at_equal_abstention"]))
    lines += ["", _names_line(everything)]
    lines += ["", f"{'predicted':<14}" + "".join(f"{name[:7]:>8}" for name in classes)]
    for kind, counts in ours["confusion"].items():
        lines.append(f"{kind:<14}" + "".join(f"{counts.get(number, 0) or '':>8}" for number in range(len(classes))))
    return "\n".join(lines)


def _abstention_row(title: str, shares: AbstentionShares) -> str:
    return (
        f"{title:<32}{_percent(shares['abstained']):>9}{_percent(shares['accuracy_accepted']):>22}"
        f"{_percent(shares['ood_abstained']):>15}{_percent(shares['correct_or_abstained']):>22}"
    )


def _names_line(summary: PhotoSummary) -> str:
    named = _percent(summary["correct_named"])
    return f"a correct class is named for {named} of the photos, with {summary['names'] or 0:.2f} names each"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
