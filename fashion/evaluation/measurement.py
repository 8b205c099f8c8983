"""Measure a model on the test images."""

from collections.abc import Mapping, Sequence

import numpy as np

from fashion.arrays import Flags, Labels, Probabilities
from fashion.evaluation.records import (
    AbstentionScores,
    CalibrationDiagram,
    ClassifierScores,
    ClassScores,
    CoverageCurve,
    Measurement,
    Mistake,
    ModelSummary,
    OodScores,
)
from fashion.inference.predictor import Predictor
from fashion.metrics import brier_score, confusion_matrix, per_class, summary
from fashion.uncertainty.ood_datasets import ImageSet
from fashion.uncertainty.ood_metrics import auroc, coverage_accuracy, false_positive_rate
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty, Prediction
from fashion.uncertainty.reliability import expected_calibration_error, reliability_bins

COVERAGE_POINTS = 100
MAX_MISTAKES = 12


def measure(
    model: ModelSummary,
    labels: Labels,
    outputs: Outputs,
    uncertainty: PosthocUncertainty,
    classes: Sequence[str],
) -> Measurement:
    """Measure a model on the test images; the optional parts are left to the caller.

    Args:
        model: Which model it is.
        labels: Labels of the test images.
        outputs: What the network computes for them.
        uncertainty: Its calibration and abstention.
        classes: Names of the classes.
    """
    prediction = uncertainty.prediction(outputs)
    after, before = prediction.probabilities, outputs.probabilities
    predicted = after.argmax(axis=1)
    right, confidence = predicted == labels, after.max(axis=1)
    counts = confusion_matrix(labels, predicted, len(classes))
    coverage, accuracy = coverage_accuracy(right, confidence)
    shown = np.unique(np.linspace(0, len(labels) - 1, COVERAGE_POINTS + 1).round().astype(int)[1:])
    threshold = uncertainty.threshold
    return Measurement(
        artifact=model,
        test=scores(labels, after),
        test_before_calibration=scores(labels, before),
        per_class=[ClassScores(name, *row) for name, row in zip(classes, per_class(counts), strict=True)],
        confusion=counts.tolist(),
        calibration=CalibrationDiagram(
            uncertainty.temperature, reliability_bins(labels, before), reliability_bins(labels, after)
        ),
        coverage=CoverageCurve(coverage[shown].tolist(), accuracy[shown].tolist()),
        mistakes=most_confident_mistakes(labels, after, classes),
        abstention=None if threshold is None else _abstention(right, prediction.scores <= threshold, threshold),
    )


def scores(labels: Labels, probabilities: Probabilities) -> ClassifierScores:
    """Return accuracy with its interval, loss, Brier score and calibration error."""
    return ClassifierScores(
        len(labels),
        *summary(labels, probabilities),
        brier=brier_score(labels, probabilities),
        ece=expected_calibration_error(labels, probabilities),
    )


def most_confident_mistakes(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> list[Mistake]:
    """Return the wrong predictions of the highest confidence, highest first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:MAX_MISTAKES]
    return [
        Mistake(int(index), classes[labels[index]], classes[predicted[index]], float(confidence[index]))
        for index in chosen
    ]


def ood_scores(predictor: Predictor, test: Outputs, sets: Mapping[str, ImageSet]) -> list[OodScores]:
    """Measure how well the score, and confidence alone, separate out-of-distribution images from the test images.

    Args:
        predictor: A model with abstention.
        test: What the network computes for the test images.
        sets: Out-of-distribution images, by name.
    """
    in_distribution = predictor.uncertainty.prediction(test)
    return [_ood_scores(name, predictor, in_distribution, images) for name, images in sets.items()]


def _ood_scores(name: str, predictor: Predictor, in_distribution: Prediction, images: ImageSet) -> OodScores:
    foreign = predictor.predict(images.images)
    judged = [
        predictor.uncertainty.judge(foreign, row, photo=photo) for row, photo in enumerate(images.photos.tolist())
    ]
    # Negated, so that higher means further out of distribution.
    confidences = -in_distribution.probabilities.max(axis=1), -foreign.probabilities.max(axis=1)
    return OodScores(
        set=name,
        images=len(images.images),
        abstained=float(np.mean([each.decision == "abstain" for each in judged])),
        auroc=auroc(in_distribution.scores, foreign.scores),
        fpr95=false_positive_rate(in_distribution.scores, foreign.scores),
        baseline_auroc=auroc(*confidences),
        baseline_fpr95=false_positive_rate(*confidences),
    )


def _abstention(right: Flags, accepted: Flags, threshold: float) -> AbstentionScores:
    return AbstentionScores(
        threshold=threshold,
        test_accepted=float(accepted.mean()),
        accuracy_accepted=float(right[accepted].mean()) if accepted.any() else None,
        accuracy_abstained=float(right[~accepted].mean()) if not accepted.all() else None,
    )
