"""Out-of-fold predictions: each training image is predicted by the model that was not trained on it."""

import csv
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fashion.errors import InputError
from fashion.files import replacing
from fashion.metrics import summary
from fashion.runs.folder import RunFolder
from fashion.runs.predictions import ValidationPredictions


class FoldJob(NamedTuple):
    """A completed job of a sweep that trained on all folds but one.

    Attributes:
        number: The job's number.
        fold: The fold that it validated on.
        folds: How many folds there are.
        folder: Where it wrote.
    """

    number: int
    fold: int
    folds: int
    folder: RunFolder


@dataclasses.dataclass
class OutOfFold:
    """The predictions of all folds of one setting and seed, together.

    Attributes:
        jobs: The jobs whose predictions are there, by fold.
        folds: How many folds there are.
        images: The number of images.
        accuracy: Share of them whose class is predicted.
        accuracy_low: Lower end of its 95 % interval.
        accuracy_high: Upper end.
        macro_accuracy: Mean recall of the classes: every class counts the same, however many images it has.
        macro_accuracy_low: Lower end of its 95 % interval.
        macro_accuracy_high: Upper end.
        loss: Mean cross-entropy in nats.
    """

    jobs: list[FoldJob]
    folds: int
    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_accuracy: float
    macro_accuracy_low: float
    macro_accuracy_high: float
    loss: float


def gather(jobs: Iterable[FoldJob]) -> OutOfFold | None:
    """Return the scores of the folds of one setting and seed; None where no fold has written its predictions.

    Raises:
        InputError: When a fold's predictions are damaged.
    """
    found = [(job, predictions) for job, predictions in _read(jobs) if len(predictions.labels)]
    if not found:
        return None
    labels = np.concatenate([predictions.labels for _, predictions in found])
    probabilities = np.concatenate([predictions.probabilities for _, predictions in found])
    scores = summary(labels, probabilities)
    return OutOfFold(
        jobs=[job for job, _ in found],
        folds=found[0][0].folds,
        images=len(labels),
        **scores._asdict(),
    )


def write_csv(path: Path, sets: Iterable[OutOfFold]) -> None:
    """Write one line for each image: job, fold, source, label, predicted class, and all probabilities.

    Raises:
        InputError: When a fold's predictions are damaged.
        WriteError: When the file cannot be written.
    """
    head: list[str] = []
    with replacing(path) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for each in sets:
            for job, (classes, sources, labels, probabilities) in _read(each.jobs):
                if not head:
                    head = ["job", "fold", "source", "label", "predicted", *(f"p({name})" for name in classes)]
                    writer.writerow(head)
                named = zip(sources, classes[labels], classes[probabilities.argmax(axis=1)], strict=True)
                for row, shares in zip(named, probabilities, strict=True):
                    writer.writerow([job.number, job.fold, *row, *(f"{share:.6g}" for share in shares)])


def _read(jobs: Iterable[FoldJob]) -> Iterable[tuple[FoldJob, ValidationPredictions]]:
    """Yield the jobs that have written predictions, in the order of their folds, and what they have written."""
    classes: list[str] | None = None
    for job in sorted(jobs, key=lambda job: job.fold):
        predictions = job.folder.read_validation_predictions()
        if predictions is None:
            continue
        if classes not in (None, predictions.classes.tolist()):
            raise InputError(f"{job.folder}: its classes are not those of the other folds; run the folds again")
        classes = predictions.classes.tolist()
        yield job, predictions
