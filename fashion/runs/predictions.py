"""``validation_predictions.npz``: what the model of one fold predicts for the images that it was not trained on."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from fashion.arrays import Labels, Probabilities


class ValidationPredictions(NamedTuple):
    """Predictions for the validation images, in their order.

    Attributes:
        classes: ``(classes,)`` str, name of each class.
        sources: ``(n,)`` int64 or str, the place of each image in its source.
        labels: ``(n,)`` int64, an index into ``classes``.
        probabilities: ``(n, classes)`` float32, not calibrated: the temperature is fitted on these same images.
    """

    classes: Shaped[np.ndarray, " classes"]
    sources: Int[np.ndarray, " n"] | Shaped[np.ndarray, " n"]
    labels: Labels
    probabilities: Probabilities
