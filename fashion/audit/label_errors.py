"""Likely label errors, found by a quick model's predictions for images that it was not trained on."""

import math
import warnings

import numpy as np
from jaxtyping import Int

from fashion.arrays import Images, Labels, Probabilities
from fashion.errors import InputError

FOLDS = 5
FEW_IMAGES = 10 * FOLDS  # of the smallest class
HIDDEN_UNITS = 256
BATCH_SIZE = 200  # scikit-learn's own, of larger data
EPOCHS = 8
MIN_STEPS = 250  # eight epochs of a few hundred images are too few steps to learn anything


def cross_validated_probabilities(
    images: Images, labels: Labels, groups: Int[np.ndarray, " n"], *, seed: int
) -> Probabilities:
    """Return the predictions of a perceptron with one hidden layer for each image, after training on the other folds.

    Args:
        images: Images of all folds, reduced to a few pixels.
        labels: Their classes; one that a fold does not train on has a probability of 0 there.
        groups: Images of one group are in the same fold, so that no duplicate confirms its twin's label.
        seed: Seed of the folds and the training.

    Raises:
        InputError: When all images are of one group.
    """
    from joblib import parallel_config
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    if len(np.unique(groups)) < 2:
        raise InputError("audit: all training images are near duplicates of one another, so no model can be checked")
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    count = min(FOLDS, len(np.unique(groups)))
    trained_on = len(images) - len(images) // count
    epochs = max(EPOCHS, math.ceil(MIN_STEPS / math.ceil(trained_on / BATCH_SIZE)))
    model = MLPClassifier((HIDDEN_UNITS,), max_iter=epochs, random_state=seed)
    few = np.unique(labels, return_counts=True)[1].min() < FEW_IMAGES
    kind = StratifiedGroupKFold if few else GroupKFold  # by chance, all images of a small class could be in one fold
    folds = kind(count, shuffle=True, random_state=seed)
    # One fold on each core: the matrix products of one step are too small for several.
    with warnings.catch_warnings(), parallel_config("threading", n_jobs=-1), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is intended
        warnings.filterwarnings("ignore", "Number of classes in", RuntimeWarning)
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        probabilities = cross_val_predict(model, pixels, labels, groups=groups, cv=folds, method="predict_proba")
    return probabilities.astype(np.float32)


def likely_errors(labels: Labels, probabilities: Probabilities) -> Int[np.ndarray, " errors"]:
    """Return the positions of likely label errors, the most likely first, by confident learning.

    The number of errors between two classes is estimated from how often the model is as confident of one class as it is
    on average for images with that label, although the label is the other (Northcutt, Jiang & Chuang, 2021, JAIR
    70:1373).

    Args:
        labels: As given.
        probabilities: Predicted for images that the model was not trained on.
    """
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)  # in classes of a few images
        found = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return np.asarray(found, np.int64)
