"""Describe a data set: tables for the terminal, and plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from fashion.arrays import Images
from fashion.data import exploration_plots
from fashion.data.dataset import Dataset, Split
from fashion.data.image_rows import ImageArray

Histogram = Int[np.ndarray, "c 256"]

MAX_AUGMENTED = 10  # classes
MAX_CLASS_ROWS = 40  # of the table; with more classes, the largest and the smallest are listed
BLOCK = 1_000  # images in memory at once, of those that are in a file


def explore(dataset: Dataset, augment: exploration_plots.Augment, folder: Path) -> None:
    """Print the tables of a data set and write four plots of its training split into ``folder``.

    Args:
        dataset: The data set to describe.
        augment: From ``(n, h, w, c)`` uint8 images and a seed to ``(n, h, w, c)`` float images in [0, 1].
        folder: Gets ``classes.png``, ``class_means.png``, ``pixel_histogram.png`` and ``augmentation.png``.

    Raises:
        WriteError: A plot cannot be written.
    """
    pixels = {name: pixel_histogram(split.images) for name, split in _splits(dataset).items()}
    print(describe(dataset, pixels))
    print()
    exploration_plots.draw_classes(dataset, folder / "classes.png")
    exploration_plots.draw_class_means(dataset, folder / "class_means.png")
    exploration_plots.draw_pixel_histogram(dataset, pixels["train"], folder / "pixel_histogram.png")
    exploration_plots.draw_augmentation(*one_of_each_class(dataset), augment, folder / "augmentation.png")
    for name in ("classes", "class_means", "pixel_histogram", "augmentation"):
        print(f"wrote {folder / name}.png")


# -- tables -----------------------------------------------------------------------------------------------------------


def describe(dataset: Dataset, pixels: Mapping[str, Histogram]) -> str:
    """Return the shapes, types, value ranges and class balance of the splits as aligned text.

    Args:
        dataset: The data set.
        pixels: Split to its ``pixel_histogram``.
    """
    splits = _splits(dataset)
    return "\n\n".join(
        [_arrays_table(splits, pixels), _classes_table(splits, dataset.classes), _pixels_text(pixels["train"])]
    )


def _splits(dataset: Dataset) -> dict[str, Split]:
    return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}


def _arrays_table(splits: Mapping[str, Split], pixels: Mapping[str, Histogram]) -> str:
    rows = [["split", "array", "shape", "dtype", "values"]]
    for split, arrays in splits.items():
        used = np.flatnonzero(pixels[split].sum(axis=0))
        for name, array, values in (("images", arrays.images, used), ("labels", arrays.labels, arrays.labels)):
            rows.append([split, name, str(array.shape), str(array.dtype), f"{values.min()}-{values.max()}"])
    return _table(rows, "<<<<<")


def _classes_table(splits: Mapping[str, Split], classes: Sequence[str]) -> str:
    counts = {name: np.bincount(split.labels, minlength=len(classes)) for name, split in splits.items()}
    header = ["label", "class"]
    for split in splits:
        header += [split, "share"]
    rows = [header]
    largest_first = np.argsort(-counts["train"], kind="stable").tolist()
    half = MAX_CLASS_ROWS // 2
    omitted = largest_first[half:-half] if len(classes) > MAX_CLASS_ROWS else []
    for label in largest_first if omitted else range(len(classes)):
        if label in omitted:
            if label == omitted[0]:
                rows.append(["", f"{len(omitted)} classes between these", *[""] * 2 * len(splits)])
            continue
        row = [str(label), classes[label]]
        for count in counts.values():
            row += [f"{count[label]:,}", f"{count[label] / count.sum():.1%}"]
        rows.append(row)
    total, imbalance = ["", "all"], ["", "largest / smallest"]
    for count in counts.values():
        total += [f"{count.sum():,}", f"{1:.1%}"]
        imbalance += [f"{count.max() / count.min():.2f}" if count.min() else "-", ""]
    return _table([*rows, total, imbalance], "><" + ">>" * len(splits))


def _pixels_text(histogram: Histogram) -> str:
    shares = histogram / histogram.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    means = shares @ values
    deviations = np.sqrt((shares * (values - means[:, np.newaxis]) ** 2).sum(axis=1))
    mean, deviation = (" ".join(f"{value:.4f}" for value in row) for row in (means, deviations))
    channels = " of red, green and blue" if len(shares) == 3 else ""
    black, white = shares.mean(axis=0)[[0, 255]]
    return (
        f"Training pixels: {black:.1%} are 0 and {white:.1%} are 255; "
        f"scaled to [0, 1], mean{channels} {mean}, standard deviation {deviation}."
    )


def _table(rows: Sequence[Sequence[str]], alignments: str) -> str:
    """Align columns of text; a rule under the first row."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, alignments, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def pixel_histogram(images: ImageArray) -> Histogram:
    """Count the pixels of each value in each channel.

    Args:
        images: ``(n, h, w, c)`` uint8, 0-255.

    Returns:
        ``(c, 256)`` int64.
    """
    counts = np.zeros((images.shape[3], 256), np.int64)
    for first in range(0, len(images), BLOCK):
        block = images[first : first + BLOCK]
        for channel, count in enumerate(counts):
            count += np.bincount(block[..., channel].ravel(), minlength=256)
    return counts


def one_of_each_class(dataset: Dataset) -> tuple[Images, list[str]]:
    """Return the first training image of each class that has one, of at most ten classes, and their names.

    Returns:
        ``(classes, h, w, c)`` uint8, in class order.
    """
    present, first = np.unique(dataset.train.labels, return_index=True)
    chosen = np.linspace(0, len(present) - 1, min(MAX_AUGMENTED, len(present))).round().astype(int)
    return np.asarray(dataset.train.images[first[chosen]]), [dataset.classes[label] for label in present[chosen]]
