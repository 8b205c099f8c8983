"""When to say "not sure": how unlike the training images a picture is, in the network's own features.

The score joins two Mahalanobis distances to the nearest class (Lee et al., 2018, arXiv:1807.03888): of the direction of
the features before the last layer, which know what makes a class, and of the spatial means of the narrowest layers at
each resolution, which know what pixels of clothes look like. Their logarithms, standardised, are averaged.
"""

import base64
import hashlib
from typing import NamedTuple

import numpy as np

from fashion.card import AbstentionEntry, FeatureEntry

METHOD = "Mahalanobis distances of penultimate and intermediate features to the nearest class, log, standardised, mean"
LEAST_DISTANCE = 1e-12


class Part(NamedTuple):
    """The distance of one vector of features; its arrays hold float16 values, because so they are stored.

    Attributes:
        mean: ``(d,)`` float32, of the training images' features.
        axes: ``(d, k)`` float32; features times them have one covariance within a class, a multiple of unity.
        centres: ``(classes, k)`` float32, the classes' means on these axes.
        direction: Whether features are brought to unit length first.
        location: Mean of the logarithms of the validation images' distances.
        spread: Their standard deviation.
    """

    mean: np.ndarray
    axes: np.ndarray
    centres: np.ndarray
    direction: bool
    location: float = 0.0
    spread: float = 1.0

    def log_distances(self, features: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` float32: the logarithm of the squared distance to the nearest class, standardised."""
        features = unit_length(features) if self.direction else features
        # In products: |a - b|^2 of every image and class without a loop over classes.
        placed = (features - self.mean) @ self.axes
        squares = np.einsum("ij,ij->i", placed, placed)[:, np.newaxis]
        distances = squares - 2 * (placed @ self.centres.T) + np.einsum("ij,ij->i", self.centres, self.centres)
        return (np.log(np.maximum(distances.min(axis=1), LEAST_DISTANCE)) - self.location) / self.spread


class Abstention(NamedTuple):
    """A score of unlikeness, and from where on the model abstains.

    Attributes:
        parts: One for each vector of features.
        threshold: The highest score that is accepted.
    """

    parts: tuple[Part, ...]
    threshold: float

    def scores(self, features: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return ``(n,)`` float32 scores: 0 is a typical validation image, 1 a standard deviation above.

        Args:
            features: For each part ``(n, d)`` float32.
        """
        parts = [part.log_distances(each) for part, each in zip(self.parts, features, strict=True)]
        return np.stack(parts).mean(axis=0, dtype=np.float32)

    def to_card(self) -> AbstentionEntry:
        """Return what the card holds of it: plain values, and the arrays as base64 with their digest."""
        arrays = [array for part in self.parts for array in part[:3]]
        content = b"".join(np.ascontiguousarray(array, "<f2").tobytes() for array in arrays)
        return AbstentionEntry(
            method=METHOD,
            threshold=self.threshold,
            parts=[
                FeatureEntry(
                    features=len(part.mean),
                    axes=part.axes.shape[1],
                    classes=len(part.centres),
                    direction=part.direction,
                    location=part.location,
                    spread=part.spread,
                )
                for part in self.parts
            ],
            statistics_sha256=hashlib.sha256(content).hexdigest(),
            statistics=base64.b64encode(content).decode(),
        )

    @classmethod
    def from_card(cls, entry: AbstentionEntry) -> "Abstention":
        """Read it back from a card that ``fashion.artifact.verify`` has checked."""
        values = np.frombuffer(base64.b64decode(entry.statistics), "<f2")
        parts, start = [], 0
        for about in entry.parts:
            width, axes, classes = about.features, about.axes, about.classes
            arrays = []
            for shape in ((width,), (width, axes), (classes, axes)):
                size = int(np.prod(shape))
                arrays.append(values[start : start + size].reshape(shape).astype(np.float32))
                start += size
            mean, whiten, centres = arrays
            parts.append(Part(mean, whiten, centres, about.direction, about.location, about.spread))
        return cls(tuple(parts), entry.threshold)


def unit_length(features: np.ndarray) -> np.ndarray:
    """Return ``(n, d)`` features divided by their lengths; zeros stay zeros."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-9))
