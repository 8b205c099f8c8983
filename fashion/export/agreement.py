"""Whether an exported model may be kept: its answers to all test images, compared with those of the original."""

from typing import Any

import numpy as np
from jaxtyping import Float

from fashion.arrays import Labels
from fashion.errors import InputError
from fashion.exported import Agreement, Quantise
from fashion.metrics import accuracy, confusion_matrix, per_class
from fashion.uncertainty.posthoc import Prediction

# Of the accuracy, and of each class's recall; but one image may always change, as rounding can change it.
MAX_DIFFERENCE: dict[Quantise, float] = {"none": 0.001, "float16": 0.001, "int8": 0.005}
ALLOWED_IMAGES = 1
ROUNDING = 1e-9


def measure(labels: Labels, original: Prediction, exported: Prediction, threshold: float | None) -> Agreement:
    """Compare the predictions of two models for the same images.

    Args:
        labels: Labels of the images.
        original: Predictions of the model that was exported.
        exported: Predictions of the exported one.
        threshold: The highest score that is accepted; None if the model never abstains.
    """
    before, after = original.probabilities, exported.probabilities
    found = Agreement(
        images=len(labels),
        accuracy=accuracy(labels, after),
        keras_accuracy=accuracy(labels, before),
        same_class=int(np.sum(before.argmax(axis=1) == after.argmax(axis=1))),
        max_recall_difference=float(_recall_differences(labels, original, exported).max()),
        max_probability_difference=_largest_difference(before, after),
    )
    if threshold is None:
        return found
    same = (original.scores <= threshold) == (exported.scores <= threshold)
    return found.model_copy(
        update={
            "same_decision": int(same.sum()),
            "max_score_difference": _largest_difference(original.scores, exported.scores),
        }
    )


def refuse(labels: Labels, original: Prediction, exported: Prediction, quantise: Quantise) -> None:
    """Refuse an exported model that is not as good as the original, or better in one class and worse in another.

    Args:
        labels: Labels of the images.
        original: Predictions of the model that was exported.
        exported: Predictions of the exported one.
        quantise: How it was quantised.

    Raises:
        InputError: When its accuracy, or a class's recall, differs by more than the quantisation allows.
    """
    before, after = (accuracy(labels, each.probabilities) for each in (original, exported))
    recalls = _recall_differences(labels, original, exported)
    images = np.bincount(labels, minlength=len(recalls)).clip(1)
    worst = np.argmax(recalls - _allowed(quantise, images))
    for name, difference, count in (
        ("accuracy", abs(before - after), len(labels)),
        ("recall of a class", recalls[worst], images[worst]),
    ):
        allowed = _allowed(quantise, count)
        # A difference that is no number is refused, too.
        if not difference <= allowed + ROUNDING:
            raise InputError(
                f"the exported model is not kept: on {count} test images its {name} differs by "
                f"{100 * difference:.2f} points from the original's (accuracy {after:.2%} and {before:.2%}), expected "
                f"at most {100 * allowed:.1f}; "
                + ("use quantise=none" if quantise != "none" else "report this as a bug")
            )


def _allowed(quantise: Quantise, images: Any) -> Any:
    """Return the largest difference of a share of so many images, one number or an array."""
    return np.maximum(MAX_DIFFERENCE[quantise], ALLOWED_IMAGES / images)


def _recall_differences(labels: Labels, original: Prediction, exported: Prediction) -> Float[np.ndarray, " classes"]:
    first, second = (
        np.array([row.recall for row in per_class(confusion_matrix(labels, rows.argmax(axis=1), rows.shape[1]))])
        for rows in (original.probabilities, exported.probabilities)
    )
    return np.abs(first - second)


def _largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(np.float64) - second).max())
