"""Whether a confidence of 90 % is right nine times out of ten."""

from typing import NamedTuple

import numpy as np

BINS = 15


class Bin(NamedTuple):
    """The answers of one range of confidence.

    Attributes:
        low: Confidence above which it begins.
        high: Confidence at which it ends, included.
        images: How many answers.
        confidence: Their mean confidence; 0 without any.
        accuracy: The share of them that is right; 0 without any.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Return the answers by confidence, in ranges of equal width (Guo et al., 2017, arXiv:1706.04599, section 2).

    Args:
        labels: ``(n,)`` int64.
        probabilities: ``(n, classes)``.
        bins: How many ranges.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    divisor = np.maximum(images, 1)
    confidences = np.bincount(place, confidence, bins) / divisor
    accuracies = np.bincount(place, right, bins) / divisor
    return [
        Bin(*row)
        for row in zip(
            edges[:-1].tolist(),
            edges[1:].tolist(),
            images.tolist(),
            confidences.tolist(),
            accuracies.tolist(),
            strict=True,
        )
    ]


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Return the mean gap between confidence and accuracy over the ranges of ``reliability``, weighted by answers."""
    table = reliability(labels, probabilities, bins)
    return sum(row.images * abs(row.accuracy - row.confidence) for row in table) / len(labels)
