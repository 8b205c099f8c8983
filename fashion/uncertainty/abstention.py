"""When to abstain: how far an image's features lie from those of the training images.

The score averages two Mahalanobis distances to the nearest class (Lee et al., 2018, arXiv:1807.03888), as standardised
logarithms: one of the direction of the features before the last layer, which separate the classes, and one of the
spatial means of the narrowest layer at each resolution, which reflect what pixels of such images look like.
"""

import base64
import hashlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fashion.arrays import Features, Scores
from fashion.card import AbstentionEntry, FeatureEntry

METHOD = "Mahalanobis distances of penultimate and intermediate features to the nearest class, log, standardised, mean"
MIN_DISTANCE = 1e-12

FeatureVectors = tuple[Float[np.ndarray, "n _"], ...]  # of the same images, of different lengths


class MahalanobisDistance(NamedTuple):
    """The distance of one feature vector to the nearest class. Cards store its arrays as float16, so values are.

    Attributes:
        mean: Mean of the training images' features.
        whitening: Whitened features have the same covariance within each class, a multiple of the identity.
        class_means: Class means of whitened features.
        normalize: Whether features are scaled to unit length first.
        log_mean: Mean of the logarithms of the validation images' squared distances.
        log_deviation: Their standard deviation.
    """

    mean: Float[np.ndarray, " features"]
    whitening: Float[np.ndarray, "features axes"]
    class_means: Float[np.ndarray, "classes axes"]
    normalize: bool
    log_mean: float = 0.0
    log_deviation: float = 1.0

    def log_distances(self, features: Features) -> Scores:
        """Return the standardised logarithm of each squared distance to the nearest class."""
        features = unit_length(features) if self.normalize else features
        # As matrix products: |a - b|^2 of every image and class without a loop over classes.
        whitened = (features - self.mean) @ self.whitening
        squares = np.einsum("ij,ij->i", whitened, whitened)[:, np.newaxis]
        means = self.class_means
        distances = squares - 2 * (whitened @ means.T) + np.einsum("ij,ij->i", means, means)
        return (np.log(np.maximum(distances.min(axis=1), MIN_DISTANCE)) - self.log_mean) / self.log_deviation


class Abstention(NamedTuple):
    """An out-of-distribution score, and the threshold above which the model abstains.

    Attributes:
        distances: One for each feature vector.
        threshold: The highest score that is accepted.
    """

    distances: tuple[MahalanobisDistance, ...]
    threshold: float

    def scores(self, features: FeatureVectors) -> Scores:
        """Return scores: 0 is a typical validation image, 1 a standard deviation above.

        Args:
            features: One for each distance.
        """
        logs = [distance.log_distances(each) for distance, each in zip(self.distances, features, strict=True)]
        return np.stack(logs).mean(axis=0, dtype=np.float32)

    def to_card(self) -> AbstentionEntry:
        """Return its entry in the card: plain values, and the arrays as base64 with their digest."""
        arrays = [array for distance in self.distances for array in distance[:3]]
        content = b"".join(np.ascontiguousarray(array, "<f2").tobytes() for array in arrays)
        return AbstentionEntry(
            method=METHOD,
            threshold=self.threshold,
            parts=[
                FeatureEntry(
                    features=len(distance.mean),
                    axes=distance.whitening.shape[1],
                    classes=len(distance.class_means),
                    direction=distance.normalize,
                    location=distance.log_mean,
                    spread=distance.log_deviation,
                )
                for distance in self.distances
            ],
            statistics_sha256=hashlib.sha256(content).hexdigest(),
            statistics=base64.b64encode(content).decode(),
        )

    @classmethod
    def from_card(cls, entry: AbstentionEntry) -> "Abstention":
        """Read it from a card that ``fashion.card.read_card`` has checked."""
        values = np.frombuffer(base64.b64decode(entry.statistics), "<f2")
        distances, start = [], 0
        for part in entry.parts:
            arrays = []
            for shape in ((part.features,), (part.features, part.axes), (part.classes, part.axes)):
                size = int(np.prod(shape))
                arrays.append(values[start : start + size].reshape(shape).astype(np.float32))
                start += size
            mean, whitening, class_means = arrays
            distances.append(
                MahalanobisDistance(mean, whitening, class_means, part.direction, part.location, part.spread)
            )
        return cls(tuple(distances), entry.threshold)


def unit_length(features: Features) -> Features:
    """Return features divided by their lengths; zeros stay zeros."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-9))
