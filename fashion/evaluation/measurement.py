"""Every number of the report, as plain values."""

from typing import Any

import numpy as np

from fashion.data.fashion_mnist import CLASSES
from fashion.inference.predictor import Predictor
from fashion.metrics import brier_score, confusion_matrix, per_class, summary
from fashion.uncertainty.ood_datasets import ImageSet
from fashion.uncertainty.ood_metrics import auroc, coverage_accuracy, false_positive_rate
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty
from fashion.uncertainty.reliability import expected_calibration_error, reliability_bins

COVERAGE_POINTS = 100
MOST_MISTAKES = 12


def measure(labels: np.ndarray, outputs: Outputs, uncertainty: PosthocUncertainty) -> dict[str, Any]:
    """Return what the test images say of a model, and of how far to trust it.

    Args:
        labels: ``(n,)`` int64 of the test images.
        outputs: What the network computes of them.
        uncertainty: What is made of that.
    """
    answer = uncertainty.prediction(outputs)
    after, before = answer.probabilities, outputs.probabilities
    predicted = after.argmax(axis=1)
    right, confidence = predicted == labels, after.max(axis=1)
    counts = confusion_matrix(labels, predicted, len(CLASSES))
    coverage, accuracy = coverage_accuracy(right, confidence)
    shown = np.unique(np.linspace(0, len(labels) - 1, COVERAGE_POINTS + 1).round().astype(int)[1:])
    content: dict[str, Any] = {
        "test": scores(labels, after),
        "test_before_calibration": scores(labels, before),
        "per_class": [{"class": name, **row._asdict()} for name, row in zip(CLASSES, per_class(counts), strict=True)],
        "confusion": counts.tolist(),
        "calibration": {
            "temperature": uncertainty.temperature,
            "before": [row._asdict() for row in reliability_bins(labels, before)],
            "after": [row._asdict() for row in reliability_bins(labels, after)],
        },
        "coverage": {"coverage": coverage[shown].tolist(), "accuracy": accuracy[shown].tolist()},
        "mistakes": mistakes(labels, after),
    }
    if uncertainty.threshold is not None:
        content["abstention"] = _abstention(right, answer.scores <= uncertainty.threshold, uncertainty.threshold)
    return content


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return accuracy with its interval, loss, Brier score and calibration error."""
    return {
        "images": len(labels),
        **summary(labels, probabilities),
        "brier": brier_score(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
    }


def mistakes(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Return the wrong answers that were given with the most confidence, surest first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "image": int(index),
            "true": CLASSES[labels[index]],
            "predicted": CLASSES[predicted[index]],
            "confidence": float(confidence[index]),
        }
        for index in surest
    ]


def strangers(predictor: Predictor, test: Outputs, sets: dict[str, ImageSet]) -> list[dict[str, Any]]:
    """Return for each set of outliers how well the score, and confidence alone, tell it from the test images.

    Args:
        predictor: One that knows when to abstain.
        test: What the network computes of the test images.
        sets: Outliers, by name.
    """
    rows = []
    ordinary = predictor.uncertainty.prediction(test)
    for name, (images, photos) in sets.items():
        strange = predictor.predict(images)
        judged = [
            predictor.uncertainty.judge(strange, row, photo=cut_out) for row, cut_out in enumerate(photos.tolist())
        ]
        rows.append(
            {
                "set": name,
                "images": len(images),
                "abstained": float(np.mean([each.decision == "abstain" for each in judged])),
                "auroc": auroc(ordinary.scores, strange.scores),
                "fpr95": false_positive_rate(ordinary.scores, strange.scores),
                "baseline_auroc": auroc(-ordinary.probabilities.max(axis=1), -strange.probabilities.max(axis=1)),
                "baseline_fpr95": false_positive_rate(
                    -ordinary.probabilities.max(axis=1), -strange.probabilities.max(axis=1)
                ),
            }
        )
    return rows


def _abstention(right: np.ndarray, accepted: np.ndarray, threshold: float) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "test_accepted": float(accepted.mean()),
        "accuracy_accepted": float(right[accepted].mean()) if accepted.any() else None,
        "accuracy_abstained": float(right[~accepted].mean()) if not accepted.all() else None,
    }
