"""The records in ``metrics.json``, which ``report.html`` shows.

A part that is None by default was not measured, and is absent from the file.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from fashion.artifact import Artifact
from fashion.uncertainty.reliability import ReliabilityBin


@dataclasses.dataclass(frozen=True)
class ClassifierScores:
    """A model's scores on some images.

    Attributes:
        images: The number of images.
        accuracy: Share of the images whose class is predicted.
        accuracy_low: Lower end of its 95 % interval.
        accuracy_high: Upper end.
        macro_accuracy: Mean recall of the classes: every class counts the same, however many images it has.
        macro_accuracy_low: Lower end of its 95 % interval.
        macro_accuracy_high: Upper end.
        loss: Mean cross-entropy in nats.
        brier: Brier score, 0 to 2.
        ece: Expected calibration error, 0 to 1.
    """

    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_accuracy: float
    macro_accuracy_low: float
    macro_accuracy_high: float
    loss: float
    brier: float
    ece: float


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """The ``fashion.metrics.ClassMetrics`` of one class, and its name."""

    class_: str
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float
    images: int


@dataclasses.dataclass(frozen=True)
class CalibrationDiagram:
    """The temperature, and reliability diagrams before and after scaling with it."""

    temperature: float
    before: Sequence[ReliabilityBin]
    after: Sequence[ReliabilityBin]


@dataclasses.dataclass(frozen=True)
class CoverageCurve:
    """The accuracy of the most confident predictions, at increasing coverage."""

    coverage: Sequence[float]
    accuracy: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrong prediction.

    Attributes:
        image: The image's position in the test set.
        true: Name of its class.
        predicted: Name of the predicted class.
        confidence: Calibrated probability of the predicted class.
    """

    image: int
    true: str
    predicted: str
    confidence: float


@dataclasses.dataclass(frozen=True)
class AbstentionScores:
    """What abstention does to the test images.

    Attributes:
        threshold: The highest score that is accepted.
        test_accepted: Share of the images that are accepted.
        accuracy_accepted: Accuracy on them; None if there are none.
        accuracy_abstained: Accuracy on the others; None if there are none.
    """

    threshold: float
    test_accepted: float
    accuracy_accepted: float | None
    accuracy_abstained: float | None


@dataclasses.dataclass(frozen=True)
class OodScores:
    """How well one set of out-of-distribution images is separated from the test images.

    Attributes:
        set: Name of the set.
        images: Their number.
        abstained: Share of them that the model abstains on.
        auroc: By the out-of-distribution score.
        fpr95: False-positive rate of that score where 95 % of the test images are accepted.
        baseline_auroc: The same by softmax confidence alone.
        baseline_fpr95: The same by softmax confidence alone.
    """

    set: str
    images: int
    abstained: float
    auroc: float
    fpr95: float
    baseline_auroc: float
    baseline_fpr95: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a prediction costs.

    Attributes:
        parameters: Trained parameters.
        multiply_adds: Multiply-adds for one image.
        milliseconds: Median time of predicting one image.
        backend: The Keras backend that was timed.
    """

    parameters: int
    multiply_adds: int
    milliseconds: float | None = None
    backend: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelSummary:
    """Which model was measured, and how it was trained."""

    name: str
    path: str
    version: str
    backend: str
    epochs: int | None
    seed: int
    created: str | None

    @classmethod
    def of(cls, loaded: Artifact) -> "ModelSummary":
        """Summarise an artifact."""
        card = loaded.card
        return cls(
            loaded.model.name, str(loaded.path), card.version, card.backend, card.epochs, card.seed, card.created
        )


@dataclasses.dataclass(frozen=True)
class McNemarTest:
    """McNemar's test (1947, Psychometrika 12:153) of the hypothesis that two models err equally often.

    Attributes:
        only_first: Images that only the first model classifies correctly.
        only_second: Images that only the second classifies correctly.
        p_value: Probability of a difference at least this large under the hypothesis.
        exact: Whether it is from the binomial distribution; else from chi-squared with Edwards's correction.
    """

    only_first: int
    only_second: int
    p_value: float
    exact: bool


@dataclasses.dataclass(frozen=True)
class ComparisonRow:
    """One metric of two models: both values, the first less the second, and the difference's 95 % interval."""

    name: str
    first: float
    second: float
    difference: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The model compared with another on the same images."""

    other: ModelSummary
    mcnemar: McNemarTest
    rows: Sequence[ComparisonRow]


@dataclasses.dataclass(frozen=True)
class Robustness:
    """Accuracy on corrupted test images.

    Attributes:
        seed: Seed of the corruptions.
        images: The number of test images.
        clean_accuracy: Accuracy without corruption.
        mean_corruption_accuracy: Mean over all corruptions and severities.
        accuracy: Corruption to its accuracies, by severity.
        seconds: Time the measurement took.
    """

    seed: int
    images: int
    clean_accuracy: float
    mean_corruption_accuracy: float
    accuracy: dict[str, list[float]]
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Everything that was measured of a model.

    Attributes:
        artifact: Which model.
        test: ClassifierScores on the test images.
        test_before_calibration: The same of the uncalibrated probabilities.
        per_class: ClassifierScores of each class, in the order of the probabilities.
        confusion: Rows of the confusion matrix; row: the true class, column: the predicted one.
        calibration: Reliability diagrams.
        coverage: Accuracy by coverage.
        mistakes: The most confident wrong predictions.
        abstention: What abstention does to the test images.
        validation: ClassifierScores on the validation images.
        ood: How well out-of-distribution images are detected, by set.
        cost: What a prediction costs.
        comparison: The comparison with another model.
        robustness: Accuracy on corrupted images.
    """

    artifact: ModelSummary
    test: ClassifierScores
    test_before_calibration: ClassifierScores
    per_class: Sequence[ClassScores]
    confusion: Sequence[Sequence[int]]
    calibration: CalibrationDiagram
    coverage: CoverageCurve
    mistakes: Sequence[Mistake]
    abstention: AbstentionScores | None = None
    validation: ClassifierScores | None = None
    ood: Sequence[OodScores] | None = None
    cost: Cost | None = None
    comparison: Comparison | None = None
    robustness: Robustness | None = None

    @property
    def unequal_classes(self) -> bool:
        """Whether some classes have more test images than others."""
        return len({row.images for row in self.per_class if row.images}) > 1

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the probabilities."""
        return [row.class_ for row in self.per_class]


def to_json(record: Any) -> Any:
    """Return a record as plain values, without the parts that were not measured."""
    if dataclasses.is_dataclass(record):
        return {
            field.name.rstrip("_"): to_json(getattr(record, field.name))
            for field in dataclasses.fields(record)
            if field.default is not None or getattr(record, field.name) is not None
        }
    if isinstance(record, dict):
        return {key: to_json(value) for key, value in record.items()}
    return [to_json(each) for each in record] if isinstance(record, list | tuple) else record
