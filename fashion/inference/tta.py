"""Test-time augmentation: the prediction for an image is the mean over its views."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, Shaped

from fashion.arrays import Pixels
from fashion.preprocessing.model_input import ModelInput
from fashion.uncertainty.posthoc import Prediction


def predict_with_tta(inputs: Sequence[ModelInput], predict: Callable[[Pixels], Prediction]) -> Prediction:
    """Return one row for each input; those of photos have the probabilities for photos.

    Args:
        inputs: At least one.
        predict: From images to their predictions.
    """
    views = [each.views for each in inputs]
    counts = np.array([len(each) for each in views])
    prediction = predict(np.concatenate(views))
    if not any(each.is_photo for each in inputs):
        return prediction  # one view of each

    means = Prediction(*(_means(rows, counts) for rows in prediction))
    photos = np.array([[each.is_photo] for each in inputs])
    return means._replace(probabilities=np.where(photos, means.photo_probabilities, means.probabilities))


def _means(rows: Shaped[np.ndarray, " views *shape"], counts: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, " n *shape"]:
    starts = np.cumsum(counts) - counts
    return np.add.reduceat(rows, starts) / counts.reshape(-1, *[1] * (rows.ndim - 1)).astype(rows.dtype)
