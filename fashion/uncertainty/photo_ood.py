"""When to say "not sure" to a photo: whether what was cut out of it is one of the ten classes at all.

A cut-out is always unlike the data set's images, so distances alone would decline every photo. Here they are weighed,
with the probabilities and the features before the last layer, by a logistic regression that was fitted to tell
photograph-like validation images from things that are none of the ten.
"""

from typing import NamedTuple

import numpy as np

from fashion.card import PhotoAbstentionEntry
from fashion.uncertainty.abstention import Abstention, unit_length

METHOD = "logistic regression on log-probabilities, entropy, Mahalanobis log-distances and features of unit length"
LEAST_PROBABILITY = 1e-4
DECIMALS = 6


class PhotoOodScore(NamedTuple):
    """A score of strangeness for photos, and from where on the model declines to answer.

    Attributes:
        weights: ``(d,)`` float64, of the evidence.
        bias: Added to the weighted sum.
        threshold: The highest score that is accepted.
    """

    weights: np.ndarray
    bias: float
    threshold: float

    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` float32: the logarithm of the odds that each is a stranger, of ``(n, d)`` evidence."""
        return (evidence @ self.weights + self.bias).astype(np.float32)

    def to_card(self) -> PhotoAbstentionEntry:
        """Return what the card holds of it."""
        return PhotoAbstentionEntry(
            method=METHOD, threshold=self.threshold, bias=self.bias, weights=self.weights.tolist()
        )

    @classmethod
    def from_card(cls, entry: PhotoAbstentionEntry) -> "PhotoOodScore":
        """Read it back from a card."""
        return cls(np.array(entry.weights, np.float64), entry.bias, entry.threshold)


def evidence(probabilities: np.ndarray, features: tuple[np.ndarray, ...], abstention: Abstention) -> np.ndarray:
    """Return ``(n, d)`` float64 that speaks for or against one of the ten being on each image.

    Args:
        probabilities: ``(n, classes)`` float32, as the network gives them.
        features: For each part of the abstention ``(n, k)`` float32; the first is what goes into the last layer.
        abstention: Fitted on images of the data set.
    """
    logs = np.log(probabilities.astype(np.float64) + LEAST_PROBABILITY)
    entropy = -(probabilities * logs).sum(axis=1, keepdims=True)
    distances = [part.log_distances(each) for part, each in zip(abstention.parts, features, strict=True)]
    return np.concatenate([logs, entropy, np.stack(distances, axis=1), unit_length(features[0])], axis=1)
