"""Reliability diagrams and the expected calibration error: is a confidence of 90 % right nine times out of ten?"""

from dataclasses import dataclass

import numpy as np

from fashion.arrays import Labels, Probabilities

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions whose confidence falls into one range.

    Attributes:
        low: Lower edge of the range, excluded.
        high: Upper edge, included.
        images: The number of predictions.
        confidence: Their mean confidence; 0 if there are none.
        accuracy: The share of them that is right; 0 if there are none.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def reliability_bins(labels: Labels, probabilities: Probabilities, bins: int = BINS) -> list[ReliabilityBin]:
    """Bin predictions by confidence, in ranges of equal width (Guo et al., 2017, arXiv:1706.04599, section 2).

    Args:
        labels: The true classes.
        probabilities: The predictions.
        bins: The number of ranges.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    divisor = np.maximum(images, 1)
    confidences = np.bincount(place, confidence, bins) / divisor
    accuracies = np.bincount(place, right, bins) / divisor
    columns = (edges[:-1], edges[1:], images, confidences, accuracies)
    return [ReliabilityBin(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def expected_calibration_error(labels: Labels, probabilities: Probabilities, bins: int = BINS) -> float:
    """Return the mean gap between confidence and accuracy over ``reliability_bins``, weighted by their predictions."""
    table = reliability_bins(labels, probabilities, bins)
    return sum(row.images * abs(row.accuracy - row.confidence) for row in table) / len(labels)
