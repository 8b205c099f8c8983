"""The records in ``audit.json``, and how the terminal shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from fashion.plural import counted

SHOWN_CLASS_PAIRS = 8
RELIABLE_ACCURACY = 0.7  # of the quick model, below which most of its findings are its own mistakes


@dataclass(frozen=True)
class ImageCounts:
    """The number of images that were audited; the validation images are part of train."""

    train: int
    test: int


@dataclass(frozen=True)
class PairCounts:
    """The number of near-duplicate pairs, and of those with conflicting labels."""

    pairs: int
    conflicting_labels: int


@dataclass(frozen=True)
class DuplicateCounts:
    """Near duplicates whose correlation exceeds a threshold, by split."""

    threshold: float
    within_train: PairCounts
    within_test: PairCounts
    train_and_test: PairCounts


@dataclass(frozen=True)
class Duplicates:
    """Exact and near duplicates.

    Attributes:
        exact_groups: Groups of identical images, named by their path, or by split and position in the official file.
        near_threshold: The correlation above which a pair is listed as near duplicate.
        by_threshold: Counts at several thresholds.
        seconds: Time the search took.
        near_pairs: Both images and their correlation, most similar first.
    """

    exact_groups: Sequence[Sequence[str]]
    near_threshold: float
    by_threshold: Sequence[DuplicateCounts]
    seconds: float
    near_pairs: Sequence[tuple[str, str, float]]


@dataclass(frozen=True)
class SubsetScores:
    """A model's ``fashion.metrics.Summary`` on a subset of the test images."""

    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_accuracy: float
    macro_accuracy_low: float
    macro_accuracy_high: float
    loss: float


@dataclass(frozen=True)
class DeduplicatedScores:
    """Scores without the test images that have a near duplicate in train, and on those alone; None for no image."""

    threshold: float
    without: SubsetScores | None
    duplicates_alone: SubsetScores | None


@dataclass(frozen=True)
class AccuracyEffect:
    """What near duplicates do to a measured accuracy."""

    all: SubsetScores
    by_threshold: Sequence[DeduplicatedScores]


@dataclass(frozen=True)
class ClassPairErrors:
    """The number of likely label errors with this label and this prediction."""

    label: str
    guess: str
    images: int


@dataclass(frozen=True)
class LabelError:
    """An image whose label is likely wrong; ``guess`` is the class that the quick model predicts."""

    image: str
    label: str
    guess: str
    probability_of_label: float


@dataclass(frozen=True)
class LabelErrors:
    """Likely label errors in train.

    Attributes:
        quick_model_accuracy: Cross-validated accuracy of the model that finds them.
        likely_errors: Their number.
        by_class_pair: Counts by label and prediction, most frequent first.
        likeliest_first: The images, most likely wrong first.
        seconds: Time the search took.
    """

    quick_model_accuracy: float
    likely_errors: int
    by_class_pair: Sequence[ClassPairErrors]
    likeliest_first: Sequence[LabelError]
    seconds: float


@dataclass(frozen=True)
class AuditFindings:
    """Everything that an audit found; ``accuracy`` is None without a model."""

    images: ImageCounts
    duplicates: Duplicates
    accuracy: AccuracyEffect | None
    label_errors: LabelErrors


def describe(found: AuditFindings) -> str:
    """Return the findings as text for the terminal."""
    duplicates, errors = found.duplicates, found.label_errors
    lines = [
        f"exact duplicates     {counted(len(duplicates.exact_groups), 'group')} among "
        f"{counted(found.images.train + found.images.test, 'image')}",
        f"near duplicates      pairs (with conflicting labels); near is a correlation above "
        f"{duplicates.near_threshold}; {duplicates.seconds:.0f} s",
        "  correlation above  within train    within test     train and test",
    ]
    for row in duplicates.by_threshold:
        counts = [f"{each.pairs} ({each.conflicting_labels})" for each in (row.within_train, row.within_test)]
        across = f"{row.train_and_test.pairs} ({row.train_and_test.conflicting_labels})"
        lines.append(f"  {row.threshold:<17}  {counts[0]:<14}  {counts[1]:<14}  {across}")
    if found.accuracy is None:
        lines.append(
            "test accuracy        not measured: there is no outputs/latest of this data; train, or name artifact=RUN"
        )
    else:
        overall = found.accuracy.all.accuracy
        lines.append(f"test accuracy        {overall:.2%}; without test images that have a near duplicate in train:")
        lines += [_accuracy_line(row, overall) for row in found.accuracy.by_threshold]
    lines.append(
        f"likely label errors  {errors.likely_errors} of {found.images.train} in train, by a quick model with "
        f"{errors.quick_model_accuracy:.1%} accuracy ({errors.seconds:.0f} s); most frequent:"
    )
    lines += [
        f"  {row.images:>5}  labelled {row.label}, predicted {row.guess}"
        for row in errors.by_class_pair[:SHOWN_CLASS_PAIRS]
    ]
    if errors.quick_model_accuracy < RELIABLE_ACCURACY:
        lines.append("  with so low an accuracy many of these labels are right: look at the images before changing any")
    return "\n".join(lines)


def _accuracy_line(row: DeduplicatedScores, overall: float) -> str:
    without, alone = row.without, row.duplicates_alone
    if without is None or alone is None:
        return f"  above {row.threshold:<5}        no test image to leave out, or none left"
    return (
        f"  above {row.threshold:<5}        {without.accuracy:.2%} ({100 * (without.accuracy - overall):+.2f} points) "
        f"without {counted(alone.images, 'image')}, {alone.accuracy:.1%} on those alone"
    )
