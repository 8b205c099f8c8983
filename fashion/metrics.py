"""Metrics of a classifier."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fashion.arrays import ConfusionMatrix, Labels, Probabilities, Scores

Z_95 = 1.959964  # the quantile of the normal distribution that bounds the central 95 %


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Summary(NamedTuple):
    """Accuracy and macro accuracy with their 95 % intervals, and loss.

    Attributes:
        accuracy: Share of the images whose class is predicted.
        accuracy_low: Lower end of its interval.
        accuracy_high: Upper end.
        macro_accuracy: Mean recall of the classes that occur, also called balanced accuracy: every class counts the
            same, however many images it has.
        macro_accuracy_low: Lower end of its interval.
        macro_accuracy_high: Upper end.
        loss: Mean cross-entropy in nats.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_accuracy: float
    macro_accuracy_low: float
    macro_accuracy_high: float
    loss: float


class ClassMetrics(NamedTuple):
    """How well one class is recognised.

    Attributes:
        precision: Share of the predictions of this class that are right; 0 if there are none.
        recall: Share of the class's images that are recognised; 0 if there are none.
        recall_low: Lower end of its 95 % interval; 0 if there are no images.
        recall_high: Upper end; 1 if there are no images.
        f1: Harmonic mean of both; 0 if both are.
        images: The number of images of the class.
    """

    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float
    images: int


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the share of images whose label is the most probable class."""
    return float(np.mean(np.argmax(probabilities, axis=1) == labels))


def cross_entropy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean cross-entropy in nats, ``log_losses`` averaged."""
    return float(np.mean(log_losses(labels, probabilities)))


def log_losses(labels: Labels, probabilities: Probabilities) -> Scores:
    """Return each image's negative log-likelihood in nats, of probabilities clipped at 1e-7 as Keras clips them."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.clip(chosen, 1e-7, 1.0))


def brier_score(labels: Labels, probabilities: Probabilities) -> float:
    """Return the Brier score, 0 to 2 (Brier, 1950, MWR 78:1): ``squared_distances`` averaged."""
    return float(np.mean(squared_distances(labels, probabilities)))


def squared_distances(labels: Labels, probabilities: Probabilities) -> Scores:
    """Return the squared distance between each image's probabilities and its one-hot label."""
    truth = np.eye(probabilities.shape[1])[labels]
    return np.square(probabilities - truth).sum(axis=1)


def wilson_interval(correct: int, count: int) -> Interval:
    """Return the 95 % interval of a proportion (Wilson, 1927, JASA 22:209), which stays within 0 and 1.

    Args:
        correct: The number of right predictions.
        count: The number of predictions; of none, nothing is known: 0 to 1.
    """
    if not count:
        return Interval(0.0, 1.0)
    share = correct / count
    centre = share + Z_95**2 / (2 * count)
    reach = Z_95 * math.sqrt(share * (1 - share) / count + Z_95**2 / (4 * count**2))
    scale = 1 + Z_95**2 / count
    return Interval(max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale))  # rounding leaves it


def summary(labels: Labels, probabilities: Probabilities) -> Summary:
    """Return accuracy and macro accuracy with their intervals, and loss."""
    share = accuracy(labels, probabilities)
    interval = wilson_interval(round(share * len(labels)), len(labels))
    counts = confusion_matrix(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    macro, low, high = macro_accuracy(per_class(counts))
    return Summary(share, *interval, macro, low, high, cross_entropy(labels, probabilities))


def macro_accuracy(classes: Sequence[ClassMetrics]) -> tuple[float, float, float]:
    """Return the mean recall of the classes that have images, and the ends of its 95 % interval.

    The interval combines those of the classes (Zou and Donner, 2008, Statistics in Medicine 27:1693), so that it stays
    within 0 and 1 and is not too narrow for classes of a few images.
    """
    recall, low, high = np.array([row[1:4] for row in classes if row.images], np.float64).T
    mean, count = float(recall.mean()), len(recall)
    below, above = (float(np.linalg.norm(reach)) / count for reach in (recall - low, high - recall))
    return mean, mean - below, mean + above


def has_unequal_classes(labels: Labels) -> bool:
    """Return whether some classes that occur have more images than others, so that macro accuracy says more."""
    return len(set(np.unique(labels, return_counts=True)[1].tolist())) > 1


def confusion_matrix(labels: Labels, predictions: Labels, classes: int) -> ConfusionMatrix:
    """Return how often each class was predicted for each true class."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def per_class(counts: ConfusionMatrix) -> list[ClassMetrics]:
    """Return precision, recall and F1 of every class."""
    found = np.diag(counts).astype(np.float64)
    predicted, images = counts.sum(axis=0), counts.sum(axis=1)
    precision, recall = found / np.maximum(predicted, 1), found / np.maximum(images, 1)
    f1 = 2 * found / np.maximum(predicted + images, 1)
    low, high = np.transpose(
        [wilson_interval(int(right), int(count)) for right, count in zip(found, images, strict=True)]
    )
    columns = (precision, recall, low, high, f1, images)
    return [ClassMetrics(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]
