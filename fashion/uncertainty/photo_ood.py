"""When to abstain on a photo: whether the segmented object belongs to any of the classes at all.

A segmented object always differs from the data set's images, so distances alone would reject every photo. Here they are
weighted, with the probabilities and the features before the last layer, by a logistic regression that was fitted to
separate photograph-like validation images from synthetic out-of-distribution images.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fashion.arrays import Probabilities, Scores
from fashion.card import PhotoAbstentionEntry
from fashion.uncertainty.abstention import Abstention, FeatureVectors, unit_length

METHOD = "logistic regression on log-probabilities, entropy, Mahalanobis log-distances and features of unit length"
MIN_PROBABILITY = 1e-4


class PhotoOodScore(NamedTuple):
    """An out-of-distribution score for photos, and the threshold above which the model abstains.

    Attributes:
        weights: Weights of what ``regression_inputs`` returns.
        bias: Added to the weighted sum.
        threshold: The highest score that is accepted.
    """

    weights: Float[np.ndarray, " inputs"]
    bias: float
    threshold: float

    def scores(self, inputs: Float[np.ndarray, "n inputs"]) -> Scores:
        """Return the log-odds that each image is out of distribution, from what ``regression_inputs`` returned."""
        return (inputs @ self.weights + self.bias).astype(np.float32)

    def to_card(self) -> PhotoAbstentionEntry:
        """Return its entry in the card."""
        return PhotoAbstentionEntry(
            method=METHOD, threshold=self.threshold, bias=self.bias, weights=self.weights.tolist()
        )

    @classmethod
    def from_card(cls, entry: PhotoAbstentionEntry) -> "PhotoOodScore":
        """Read it from a card."""
        return cls(np.array(entry.weights, np.float64), entry.bias, entry.threshold)


def regression_inputs(
    probabilities: Probabilities, features: FeatureVectors, abstention: Abstention
) -> Float[np.ndarray, "n inputs"]:
    """Return the inputs of the logistic regression.

    Args:
        probabilities: Uncalibrated.
        features: One for each distance of the abstention; the first is the input of the last layer.
        abstention: Fitted on images of the data set.
    """
    logs = np.log(probabilities.astype(np.float64) + MIN_PROBABILITY)
    entropy = -(probabilities * logs).sum(axis=1, keepdims=True)
    distances = [distance.log_distances(each) for distance, each in zip(abstention.distances, features, strict=True)]
    return np.concatenate([logs, entropy, np.stack(distances, axis=1), unit_length(features[0])], axis=1)
