"""Numbers that say how good a classifier is."""

import math
from typing import NamedTuple

import numpy as np

from fashion.arrays import ConfusionMatrix, Labels, Probabilities


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the share of labels that are the most probable class."""
    return float(np.mean(np.argmax(probabilities, axis=1) == labels))


def cross_entropy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean negative log-likelihood in nats, of probabilities clipped at 1e-7 as Keras clips them."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.clip(chosen, 1e-7, 1.0))))


def wilson_interval(correct: int, count: int, z: float = 1.959964) -> Interval:
    """Return the 95 % interval of a proportion (Wilson, 1927, JASA 22:209), which stays within 0 and 1.

    Args:
        correct: How many were right.
        count: Out of how many, at least 1.
        z: Quantile of the normal distribution; the default is for 95 %.
    """
    share = correct / count
    centre = share + z**2 / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Interval((centre - reach) / (1 + z**2 / count), (centre + reach) / (1 + z**2 / count))


def confusion_matrix(labels: Labels, predictions: Labels, classes: int) -> ConfusionMatrix:
    """Return how often each class was predicted for each true class."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def summary(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Return accuracy with its 95 % interval, and loss."""
    share = accuracy(labels, probabilities)
    interval = wilson_interval(round(share * len(labels)), len(labels))
    return {
        "accuracy": share,
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
        "loss": cross_entropy(labels, probabilities),
    }


def brier_score(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean squared distance between probabilities and truth, 0 to 2 (Brier, 1950, MWR 78:1)."""
    truth = np.eye(probabilities.shape[1])[labels]
    return float(np.mean(np.square(probabilities - truth).sum(axis=1)))


class ClassMetrics(NamedTuple):
    """How one class fares.

    Attributes:
        precision: Share of the answers with this class that are right; 0 without any.
        recall: Share of the class's images that are found; 0 without any.
        f1: Harmonic mean of both; 0 where both are.
        images: How many images are of the class.
    """

    precision: float
    recall: float
    f1: float
    images: int


def per_class(counts: ConfusionMatrix) -> list[ClassMetrics]:
    """Return precision, recall and F1 of every class."""
    found = np.diag(counts).astype(np.float64)
    answered, images = counts.sum(axis=0), counts.sum(axis=1)
    precision, recall = found / np.maximum(answered, 1), found / np.maximum(images, 1)
    f1 = 2 * found / np.maximum(answered + images, 1)
    return [
        ClassMetrics(*row) for row in zip(*(each.tolist() for each in (precision, recall, f1, images)), strict=True)
    ]
