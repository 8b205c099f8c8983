"""Whether an exported model may be kept: its answers to all test images, compared with those of the original."""

import numpy as np

from fashion.arrays import Labels
from fashion.errors import InputError
from fashion.exported import Agreement, Quantise
from fashion.metrics import accuracy, confusion_matrix, per_class
from fashion.uncertainty.posthoc import Prediction

# Of the accuracy, and of each class's recall.
MAX_DIFFERENCE: dict[Quantise, float] = {"none": 0.001, "float16": 0.001, "int8": 0.005}
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
    recalls = [
        np.array([row.recall for row in per_class(confusion_matrix(labels, rows.argmax(axis=1), rows.shape[1]))])
        for rows in (before, after)
    ]
    found = Agreement(
        images=len(labels),
        accuracy=accuracy(labels, after),
        keras_accuracy=accuracy(labels, before),
        same_class=int(np.sum(before.argmax(axis=1) == after.argmax(axis=1))),
        max_recall_difference=float(np.abs(recalls[0] - recalls[1]).max()),
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


def refuse(found: Agreement, quantise: Quantise) -> None:
    """Refuse an exported model that is not as good as the original, or better in one class and worse in another.

    Raises:
        InputError: When its accuracy, or a class's recall, differs by more than the quantisation allows.
    """
    limit = MAX_DIFFERENCE[quantise]
    accuracies = abs(found.accuracy - found.keras_accuracy)
    for name, difference in (("accuracy", accuracies), ("recall of a class", found.max_recall_difference)):
        # A difference that is no number is refused, too.
        if not difference <= limit + ROUNDING:
            raise InputError(
                f"the exported model is not kept: on {found.images} test images its {name} differs by "
                f"{100 * difference:.2f} points from the original's (accuracy {found.accuracy:.2%} and "
                f"{found.keras_accuracy:.2%}), expected at most {100 * limit:.1f}; "
                + ("use quantise=none" if quantise != "none" else "report this as a bug")
            )


def _largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(np.float64) - second).max())
