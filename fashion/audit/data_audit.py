"""Search a data set for duplicates and likely label errors, and measure what duplicates do to the accuracy."""

import dataclasses
import time
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from fashion.arrays import Flags, GrayImages, Labels, Probabilities
from fashion.audit.audited_images import AuditedImages
from fashion.audit.duplicates import NEAR, SENSITIVITY, SimilarPairs, exact_duplicates, groups, similar_pairs
from fashion.audit.findings import (
    AccuracyEffect,
    AuditFindings,
    ClassPairErrors,
    DeduplicatedScores,
    DuplicateCounts,
    Duplicates,
    ImageCounts,
    LabelError,
    LabelErrors,
    PairCounts,
    SubsetScores,
    describe,
)
from fashion.audit.galleries import SHOWN_ERRORS, draw_errors, draw_pairs
from fashion.audit.label_errors import cross_validated_probabilities, likely_errors
from fashion.data.dataset import Dataset
from fashion.evaluation.artifact_data import fits, refuse_other_classes, warn_if_redrawn
from fashion.files import write_json
from fashion.inference.predictor import Predictor
from fashion.metrics import summary
from fashion.paths import OUTPUTS


def load_predictor(artifact: str | None, data: Dataset) -> Predictor | None:
    """Return the model to measure with: that of an artifact, else of ``outputs/latest`` if it is one of this data.

    Raises:
        InputError: When the artifact cannot be loaded, or has other classes or images than the data.
    """
    if artifact is None:
        if not (OUTPUTS / "latest").exists():
            return None
        predictor, loaded = Predictor.load(OUTPUTS / "latest")
        if not fits(data, loaded.card):
            return None
    else:
        predictor, loaded = Predictor.load(Path(artifact))
        refuse_other_classes(data, loaded.card)
    warn_if_redrawn(data, loaded.card)
    return predictor


def audit(dataset: Dataset, predictor: Predictor | None, folder: Path, *, seed: int) -> AuditFindings:
    """Search for duplicates and likely label errors; print the findings, and write them with galleries.

    Args:
        dataset: Its train and validation images are audited together, in the order of their source.
        predictor: Measures accuracy with and without the test images that have a near duplicate in train.
        folder: Gets ``audit.json``, ``duplicates.png`` and ``label_errors.png``.
        seed: Seed of the quick model that finds label errors.

    Raises:
        WriteError: When a file cannot be written.
    """
    training, audited = _audited(dataset)
    in_test = np.arange(len(audited)) >= len(training)
    small = audited.thumbnails(grey=True)[..., 0]

    duplicates, pairs = _find_duplicates(audited, small, in_test)
    near = pairs.above(NEAR)
    accuracy = _accuracy_effect(predictor, dataset, pairs, in_test) if predictor else None

    started = time.monotonic()
    group = groups(near, len(audited))[: len(training)]
    pixels = training.thumbnails(grey=False)
    probabilities = cross_validated_probabilities(pixels, training.labels, group, seed=seed)
    errors, guesses = likely_errors(training.labels, probabilities), np.argmax(probabilities, axis=1)
    seconds = time.monotonic() - started

    found = AuditFindings(
        ImageCounts(len(training), int(in_test.sum())),
        duplicates,
        accuracy,
        _label_errors(dataset.classes, training, probabilities, errors, seconds),
    )
    write_json(folder / "audit.json", dataclasses.asdict(found))
    draw_pairs(audited, near, in_test, folder / "duplicates.png")
    shown = errors[:SHOWN_ERRORS]
    draw_errors(training[shown], training.labels[shown], guesses[shown], dataset.classes, folder / "label_errors.png")
    print(describe(found))
    for name in ("audit.json", "duplicates.png", "label_errors.png"):
        print(f"wrote {folder / name}")
    return found


def _audited(dataset: Dataset) -> tuple[AuditedImages, AuditedImages]:
    """Return the images of train and validation together, in the order of their source; and these, then test's."""
    training = AuditedImages([("train", dataset.train), ("train", dataset.validation)])
    order = np.argsort(training.sources, kind="stable")
    everything = AuditedImages([("train", dataset.train), ("train", dataset.validation), ("test", dataset.test)])
    tests = np.arange(len(training), len(everything))
    return training.reordered(order), everything.reordered(np.concatenate([order, tests]))


def _find_duplicates(audited: AuditedImages, small: GrayImages, in_test: Flags) -> tuple[Duplicates, SimilarPairs]:
    """Return the duplicates as they are reported, and all pairs above the lowest threshold.

    Args:
        audited: All images.
        small: The same, reduced.
        in_test: Which of them are test images.
    """
    labels, names = audited.labels, audited.names
    started = time.monotonic()
    pairs = similar_pairs(small, min(SENSITIVITY))
    near = pairs.above(NEAR)
    found = Duplicates(
        exact_groups=[[names[member] for member in group] for group in exact_duplicates(audited)],
        near_threshold=NEAR,
        by_threshold=[_counts(pairs.above(threshold), labels, in_test, threshold) for threshold in SENSITIVITY],
        seconds=time.monotonic() - started,
        near_pairs=[
            (names[first], names[second], float(similarity)) for first, second, similarity in zip(*near, strict=True)
        ],
    )
    return found, pairs


def _counts(pairs: SimilarPairs, labels: Labels, in_test: Flags, threshold: float) -> DuplicateCounts:
    conflicting = labels[pairs.first] != labels[pairs.second]
    tests = in_test[pairs.first].astype(int) + in_test[pairs.second]

    def counted(chosen: Bool[np.ndarray, " pairs"]) -> PairCounts:
        return PairCounts(int(chosen.sum()), int((chosen & conflicting).sum()))

    return DuplicateCounts(threshold, counted(tests == 0), counted(tests == 2), counted(tests == 1))


def _accuracy_effect(predictor: Predictor, dataset: Dataset, pairs: SimilarPairs, in_test: Flags) -> AccuracyEffect:
    labels, probabilities = dataset.test.labels, predictor.probabilities(dataset.test.images)

    def measured(chosen: Flags) -> SubsetScores:
        return SubsetScores(int(chosen.sum()), *summary(labels[chosen], probabilities[chosen]))

    rows = []
    for threshold in SENSITIVITY:
        twin = _has_twin_in_train(pairs.above(threshold), in_test)
        without, alone = (measured(chosen) if chosen.any() else None for chosen in (~twin, twin))
        rows.append(DeduplicatedScores(threshold, without, alone))
    return AccuracyEffect(measured(np.ones(len(labels), bool)), rows)


def _has_twin_in_train(pairs: SimilarPairs, in_test: Flags) -> Bool[np.ndarray, " tests"]:
    """Return for each test image whether one of the pairs connects it to a training image."""
    joined = in_test[pairs.second] & ~in_test[pairs.first]  # test images follow those of train
    found = np.zeros(len(in_test), bool)
    found[pairs.second[joined]] = True
    return found[in_test]


def _label_errors(
    classes: tuple[str, ...],
    training: AuditedImages,
    probabilities: Probabilities,
    errors: Int[np.ndarray, " errors"],
    seconds: float,
) -> LabelErrors:
    labels, names = training.labels, training.names
    guesses = np.argmax(probabilities, axis=1)
    class_pairs = Counter(zip(labels[errors].tolist(), guesses[errors].tolist(), strict=True))
    return LabelErrors(
        quick_model_accuracy=float(np.mean(guesses == labels)),
        likely_errors=len(errors),
        by_class_pair=[
            ClassPairErrors(classes[label], classes[guess], count)
            for (label, guess), count in class_pairs.most_common()
        ],
        likeliest_first=[
            LabelError(
                names[error],
                classes[labels[error]],
                classes[guesses[error]],
                float(probabilities[error, labels[error]]),
            )
            for error in errors
        ],
        seconds=seconds,
    )
