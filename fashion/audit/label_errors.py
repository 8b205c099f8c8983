"""Labels that are likely wrong, by what a quick model makes of images that it was not trained on."""

import importlib.util
import warnings

import numpy as np

from fashion.errors import InputError

FOLDS = 5
HIDDEN_UNITS = 256
EPOCHS = 8


def check_packages() -> None:
    """Raise FashionError when the optional packages of the audit are not installed."""
    for package, module in (("cleanlab", "cleanlab"), ("scikit-learn", "sklearn")):
        if importlib.util.find_spec(module) is None:
            raise InputError(
                f"audit: needs {package}, which is not installed; "
                "install it with .venv/bin/python scripts/setup_venv.py --extra audit"
            )


def cross_validated_probabilities(
    images: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int
) -> np.ndarray:
    """Return what a perceptron with one hidden layer makes of each image when trained on the other folds.

    Args:
        images: ``(n, 28, 28)`` uint8.
        labels: ``(n,)`` int64, 0 to k - 1, each class in every fold's training part.
        groups: ``(n,)`` int; images of one group are in one fold, so that no duplicate vouches for its twin's label.
        seed: Of the folds and the training.

    Returns:
        ``(n, k)`` float32.
    """
    from joblib import parallel_config
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    model = MLPClassifier((HIDDEN_UNITS,), max_iter=EPOCHS, random_state=seed)
    folds = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    # A fold on each core: the products of one step are too small to be shared by cores.
    with warnings.catch_warnings(), parallel_config("threading", n_jobs=-1), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # to stop early is meant
        probabilities = cross_val_predict(model, pixels, labels, groups=groups, cv=folds, method="predict_proba")
    return probabilities.astype(np.float32)


def likely_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the positions of likely label errors, the likeliest first.

    Confident learning (Northcutt, Jiang & Chuang, 2021, JAIR 70:1373): more are counted for a pair of classes the more
    often the model is as sure of the one as it is on average where it is given, while the label says the other.

    Args:
        labels: ``(n,)`` int64.
        probabilities: ``(n, k)`` of images that the model was not trained on.
    """
    from cleanlab.filter import find_label_issues

    return np.asarray(
        find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1), np.int64
    )
