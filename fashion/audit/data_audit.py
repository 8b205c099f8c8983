"""What is wrong with the data, and what it does to a measured accuracy: duplicates and likely label errors."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from fashion.audit.duplicates import NEAR, SENSITIVITY, Pairs, exact_duplicates, groups, similar_pairs
from fashion.audit.label_errors import cross_validated_probabilities, likely_errors
from fashion.data.dataset import Dataset
from fashion.data.fashion_mnist import CLASSES
from fashion.figures import picture, show_tiles
from fashion.files import write_json
from fashion.inference.predictor import Predictor
from fashion.metrics import summary
from fashion.paths import OUTPUTS

SHOWN_CLASS_PAIRS = 8
SHOWN_PAIRS = 14
GALLERY = (4, 8)


def audit(dataset: Dataset, artifact: str | None, folder: Path, *, seed: int) -> dict[str, Any]:
    """Look for duplicates and for likely label errors; print the findings, write them and picture them.

    Args:
        dataset: Train and validation are looked at as one, the official training file.
        artifact: A ``.keras`` file or the folder of a run, to measure with and without the test images that have a
            near duplicate in train; None: ``outputs/latest``, if there is one.
        folder: Gets ``audit.json``, ``duplicates.png`` and ``label_errors.png``.
        seed: Of the quick model.

    Returns:
        What ``audit.json`` holds.

    Raises:
        InputError: The artifact cannot be had, or a file cannot be written.
    """
    predictor = _predictor(artifact)  # first: a wrong path should not cost minutes
    train_images, train_labels, train_positions = _training_file(dataset)
    images = np.concatenate([train_images, dataset.test_images])
    labels = np.concatenate([train_labels, dataset.test_labels])
    in_test = np.arange(len(labels)) >= len(train_labels)
    numbers = np.concatenate([train_positions, dataset.positions["test"]])

    started = time.monotonic()
    pairs = similar_pairs(images, min(SENSITIVITY))
    duplicates = {
        "exact_groups": [[_named(numbers, in_test, member) for member in group] for group in exact_duplicates(images)],
        "near_threshold": NEAR,
        "by_threshold": [_counts(pairs.above(threshold), labels, in_test, threshold) for threshold in SENSITIVITY],
        "seconds": time.monotonic() - started,
    }
    near = pairs.above(NEAR)
    duplicates["near_pairs"] = [
        [_named(numbers, in_test, first), _named(numbers, in_test, second), float(similarity)]
        for first, second, similarity in zip(*near, strict=True)
    ]
    twins = [_with_twin_in_train(pairs.above(threshold), in_test) for threshold in SENSITIVITY]
    accuracies = _accuracies(predictor, dataset, twins)

    started = time.monotonic()
    group = groups(near, len(images))[: len(train_labels)]
    probabilities = cross_validated_probabilities(train_images, train_labels, group, seed=seed)
    errors = likely_errors(train_labels, probabilities)
    guesses = np.argmax(probabilities, axis=1)
    class_pairs = Counter(zip(train_labels[errors].tolist(), guesses[errors].tolist(), strict=True))
    label_errors = {
        "quick_model_accuracy": float(np.mean(guesses == train_labels)),
        "likely_errors": len(errors),
        "by_class_pair": [
            {"label": CLASSES[label], "guess": CLASSES[guess], "images": count}
            for (label, guess), count in class_pairs.most_common()
        ],
        "likeliest_first": [
            {
                "image": f"train {train_positions[error]}",
                "label": CLASSES[train_labels[error]],
                "guess": CLASSES[guesses[error]],
                "probability_of_label": float(probabilities[error, train_labels[error]]),
            }
            for error in errors
        ],
        "seconds": time.monotonic() - started,
    }
    found = {"images": {"train": len(train_labels), "test": int(in_test.sum())}, "duplicates": duplicates}
    found |= {"accuracy": accuracies, "label_errors": label_errors}
    write_json(folder / "audit.json", found)
    draw_pairs(images, near, in_test, folder / "duplicates.png")
    draw_errors(train_images[errors], train_labels[errors], guesses[errors], folder / "label_errors.png")
    print(describe(found))
    for name in ("audit.json", "duplicates.png", "label_errors.png"):
        print(f"wrote {folder / name}")
    return found


def _predictor(artifact: str | None) -> Predictor | None:
    if artifact is None and not (OUTPUTS / "latest").exists():
        return None
    return Predictor.load(Path(artifact or OUTPUTS / "latest"))[0]


def _training_file(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images, labels and positions of train and validation together, in the order of the official file."""
    positions = np.concatenate([dataset.positions["train"], dataset.positions["validation"]])
    order = np.argsort(positions)
    images = np.concatenate([dataset.train_images, dataset.validation_images])[order]
    return images, np.concatenate([dataset.train_labels, dataset.validation_labels])[order], positions[order]


def _named(numbers: np.ndarray, in_test: np.ndarray, position: int | np.integer) -> str:
    return f"{'test' if in_test[position] else 'train'} {numbers[position]}"


def _counts(pairs: Pairs, labels: np.ndarray, in_test: np.ndarray, threshold: float) -> dict[str, Any]:
    conflicting = labels[pairs.first] != labels[pairs.second]
    tests = in_test[pairs.first].astype(int) + in_test[pairs.second]
    splits = {"within_train": tests == 0, "within_test": tests == 2, "train_and_test": tests == 1}
    return {"threshold": threshold} | {
        name: {"pairs": int(chosen.sum()), "conflicting_labels": int((chosen & conflicting).sum())}
        for name, chosen in splits.items()
    }


def _with_twin_in_train(pairs: Pairs, in_test: np.ndarray) -> np.ndarray:
    """Return ``(test images,)`` bool: whether one of the pairs joins the image to a training image."""
    joined = in_test[pairs.second] & ~in_test[pairs.first]  # positions of test images are the greater ones
    found = np.zeros(len(in_test), bool)
    found[pairs.second[joined]] = True
    return found[in_test]


def _accuracies(predictor: Predictor | None, dataset: Dataset, twins: list[np.ndarray]) -> dict[str, Any] | None:
    if predictor is None:
        return None
    labels, probabilities = dataset.test_labels, predictor.probabilities(dataset.test_images)

    def measured(chosen: np.ndarray) -> dict[str, Any] | None:
        return {"images": int(chosen.sum()), **summary(labels[chosen], probabilities[chosen])} if chosen.any() else None

    return {
        "all": measured(np.ones(len(labels), bool)),
        "by_threshold": [
            {"threshold": threshold, "without": measured(~twin), "duplicates_alone": measured(twin)}
            for threshold, twin in zip(SENSITIVITY, twins, strict=True)
        ],
    }


def describe(found: dict[str, Any]) -> str:
    """Return the findings of ``audit`` as text for the terminal."""
    duplicates, accuracies, errors = found["duplicates"], found["accuracy"], found["label_errors"]
    lines = [
        f"exact duplicates     {len(duplicates['exact_groups'])} groups among {sum(found['images'].values())} images",
        f"near duplicates      pairs (with conflicting labels), correlation above {duplicates['near_threshold']} "
        f"counts as near; {duplicates['seconds']:.0f} s",
        "  correlation above  within train    within test     train and test",
    ]
    for row in duplicates["by_threshold"]:
        cells = [row[name] for name in ("within_train", "within_test", "train_and_test")]
        counts = [f"{cell['pairs']} ({cell['conflicting_labels']})" for cell in cells]
        lines.append(f"  {row['threshold']:<17}  {counts[0]:<14}  {counts[1]:<14}  {counts[2]}")
    if accuracies is None:
        lines.append("test accuracy        not measured: there is no outputs/latest; train one, or name artifact=PATH")
    else:
        lines.append(f"test accuracy        {accuracies['all']['accuracy']:.2%}; without near duplicates of train:")
        lines += [_accuracy_line(row, accuracies["all"]["accuracy"]) for row in accuracies["by_threshold"]]
    lines.append(
        f"likely label errors  {errors['likely_errors']} of {found['images']['train']} in train, by a quick model of "
        f"{errors['quick_model_accuracy']:.1%} ({errors['seconds']:.0f} s); most often:"
    )
    lines += [
        f"  {row['images']:>5}  labelled {row['label']}, more like {row['guess']}"
        for row in errors["by_class_pair"][:SHOWN_CLASS_PAIRS]
    ]
    return "\n".join(lines)


def _accuracy_line(row: dict[str, Any], overall: float) -> str:
    without, alone = row["without"], row["duplicates_alone"]
    if without is None or alone is None:
        return f"  above {row['threshold']:<5}        none to leave out, or none left"
    return (
        f"  above {row['threshold']:<5}        {without['accuracy']:.2%} ({100 * (without['accuracy'] - overall):+.2f} "
        f"points) without {alone['images']} images, {alone['accuracy']:.1%} on those alone"
    )


def draw_pairs(images: np.ndarray, near: Pairs, in_test: np.ndarray, path: Path) -> None:
    """Draw near duplicates one above the other: of train and test, then within a split; likeliest and least likely.

    Args:
        images: ``(n, 28, 28)`` uint8.
        near: Pairs of them, the most similar first.
        in_test: ``(n,)`` bool.
        path: The PNG file.
    """
    across = in_test[near.first] != in_test[near.second]
    with picture(path, 11, 7.6, "Near duplicates, one above the other") as figure:
        for axes, (name, chosen) in zip(
            figure.subplots(4, 1),
            [
                ("train and test: the most similar pairs", np.flatnonzero(across)[:SHOWN_PAIRS]),
                ("train and test: the least similar pairs", np.flatnonzero(across)[::-1][:SHOWN_PAIRS]),
                ("within a split: the most similar pairs", np.flatnonzero(~across)[:SHOWN_PAIRS]),
                ("within a split: the least similar pairs", np.flatnonzero(~across)[::-1][:SHOWN_PAIRS]),
            ],
            strict=True,
        ):
            tiles = np.full((2, SHOWN_PAIRS, *images.shape[1:]), np.nan)
            pairs = near.where(chosen)
            tiles[0, : len(chosen)], tiles[1, : len(chosen)] = images[pairs.first] / 255, images[pairs.second] / 255
            show_tiles(axes, tiles, columns=[f"{similarity:.4f}" for similarity in pairs.similarity])
            axes.set_title(name)


def draw_errors(images: np.ndarray, labels: np.ndarray, guesses: np.ndarray, path: Path) -> None:
    """Draw the first 32 of the images, each under its label and the quick model's guess.

    Args:
        images: ``(n, 28, 28)`` uint8, the likeliest label errors first.
        labels: ``(n,)`` int, as given.
        guesses: ``(n,)`` int, the quick model's.
        path: The PNG file.
    """
    with picture(path, 11, 7.2, "The likeliest label errors: label, then the quick model's guess") as figure:
        for position, axes in enumerate(figure.subplots(*GALLERY).flat):
            axes.axis("off")
            if position < len(images):
                axes.imshow(images[position], cmap="gray", vmin=0, vmax=255)
                title = f"{CLASSES[labels[position]]}\n→ {CLASSES[guesses[position]]}"
                axes.set_title(title, fontsize=9, loc="center", pad=4)
