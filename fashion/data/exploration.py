"""Describe a data set: tables for the terminal, and plots."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from fashion.arrays import Images
from fashion.data.dataset import Dataset, Split
from fashion.data.image_rows import ImageArray
from fashion.figures import saved_figure, show_tiles
from fashion.palette import ACCENT, INK, PRIMARY

# From images (n, h, w, c) uint8, 0-255, and a seed to images (n, h, w, c) float in [0, 1].
Augment = Callable[[Images, int], Float[np.ndarray, "n h w c"]]

EXAMPLES_PER_CLASS = 10
AUGMENTED_VERSIONS = 4
BLOCK = 1_000  # images in memory at once, of those that are in a file


def explore(dataset: Dataset, augment: Augment, folder: Path) -> None:
    """Print the tables of a data set and write four plots of its training split into ``folder``.

    Args:
        dataset: The data set to describe.
        augment: From ``(n, h, w, c)`` uint8 images and a seed to ``(n, h, w, c)`` float images in [0, 1].
        folder: Gets ``classes.png``, ``class_means.png``, ``pixel_histogram.png`` and ``augmentation.png``.

    Raises:
        WriteError: A plot cannot be written.
    """
    print(describe(dataset))
    print()
    draw_classes(dataset, folder / "classes.png")
    draw_class_means(dataset, folder / "class_means.png")
    draw_pixel_histogram(dataset, folder / "pixel_histogram.png")
    draw_augmentation(one_of_each_class(dataset), augment, dataset.classes, folder / "augmentation.png")
    for name in ("classes", "class_means", "pixel_histogram", "augmentation"):
        print(f"wrote {folder / name}.png")


# -- tables -----------------------------------------------------------------------------------------------------------


def describe(dataset: Dataset) -> str:
    """Return the shapes, types, value ranges and class balance of the splits as aligned text."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return "\n\n".join(
        [_arrays_table(splits), _classes_table(splits, dataset.classes), _pixels_text(dataset.train.images)]
    )


def _arrays_table(splits: dict[str, Split]) -> str:
    rows = [["split", "array", "shape", "dtype", "values"]]
    for split, arrays in splits.items():
        used = np.flatnonzero(pixel_histogram(arrays.images))
        for name, array, values in (("images", arrays.images, used), ("labels", arrays.labels, arrays.labels)):
            rows.append([split, name, str(array.shape), str(array.dtype), f"{values.min()}-{values.max()}"])
    return _table(rows, "<<<<<")


def _classes_table(splits: dict[str, Split], classes: Sequence[str]) -> str:
    counts = {name: np.bincount(split.labels, minlength=len(classes)) for name, split in splits.items()}
    header = ["label", "class"]
    for split in splits:
        header += [split, "share"]
    rows = [header]
    for label, name in enumerate(classes):
        row = [str(label), name]
        for count in counts.values():
            row += [f"{count[label]:,}", f"{count[label] / count.sum():.1%}"]
        rows.append(row)
    total, imbalance = ["", "all"], ["", "largest / smallest"]
    for count in counts.values():
        total += [f"{count.sum():,}", f"{1:.1%}"]
        imbalance += [f"{count.max() / count.min():.2f}" if count.min() else "-", ""]
    return _table([*rows, total, imbalance], "><" + ">>" * len(splits))


def _pixels_text(images: ImageArray) -> str:
    histogram = pixel_histogram(images)
    share = histogram / histogram.sum()
    values = np.arange(256) / 255
    mean = float(share @ values)
    deviation = float(np.sqrt(share @ (values - mean) ** 2))
    return (
        f"Training pixels: {share[0]:.1%} are 0 (background) and {share[255]:.1%} are 255; "
        f"scaled to [0, 1], mean {mean:.4f}, standard deviation {deviation:.4f}."
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


def pixel_histogram(images: ImageArray) -> Int[np.ndarray, " 256"]:
    """Count the pixels of each value.

    Args:
        images: ``(n, h, w, c)`` uint8, 0-255.

    Returns:
        ``(256,)`` int64.
    """
    blocks = (images[first : first + BLOCK] for first in range(0, len(images), BLOCK))
    return sum((np.bincount(block.ravel(), minlength=256) for block in blocks), np.zeros(256, np.int64))


def one_of_each_class(dataset: Dataset) -> Images:
    """Return the first training image of every class that has one, in class order: ``(classes, h, w, c)`` uint8."""
    return dataset.train.images[np.unique(dataset.train.labels, return_index=True)[1]]


# -- plots ------------------------------------------------------------------------------------------------------------


def draw_classes(dataset: Dataset, path: Path) -> None:
    """Plot the first ten training images of each class, a row for a class."""
    images = dataset.train.images
    tiles = np.full((len(dataset.classes), EXAMPLES_PER_CLASS, *images.shape[1:]), np.nan)
    for label in range(len(dataset.classes)):
        examples = images[np.flatnonzero(dataset.train.labels == label)[:EXAMPLES_PER_CLASS]]
        tiles[label, : len(examples)] = examples / 255
    with saved_figure(path, 8.6, 8.2, f"{dataset.title}: ten training images of each class") as figure:
        show_tiles(figure.add_subplot(), tiles, rows=dataset.classes)


def draw_class_means(dataset: Dataset, path: Path) -> None:
    """Plot each class's mean training image and, below it, the standard deviation of each pixel."""
    members = [dataset.train.images[dataset.train.labels == label] for label in range(len(dataset.classes))]
    means = np.stack([group.mean(axis=0) for group in members]) / 255
    deviations = np.stack([group.std(axis=0, dtype=np.float32) for group in members]) / 255
    with saved_figure(path, 12, 3.4, "What a class looks like on average, and where its images differ") as figure:
        upper, lower = figure.subplots(2, 1)
        shown = show_tiles(upper, means[None], rows=["mean"], columns=dataset.classes)
        figure.colorbar(shown, ax=upper, ticks=[0, 0.5, 1], shrink=0.72, aspect=7, pad=0.01).outline.set_visible(False)
        shown = show_tiles(lower, deviations[None], rows=["standard\ndeviation"], cmap="magma", vmax=0.5)
        figure.colorbar(shown, ax=lower, ticks=[0, 0.25, 0.5], shrink=0.72, aspect=7, pad=0.01).outline.set_visible(
            False
        )


def draw_pixel_histogram(dataset: Dataset, path: Path) -> None:
    """Plot the histogram of the training pixels' values on a log scale, and the share of background in each class."""
    images, labels = dataset.train.images, dataset.train.labels
    histogram = pixel_histogram(images)
    shares = histogram / histogram.sum()
    background = {name: float((images[labels == label] == 0).mean()) for label, name in enumerate(dataset.classes)}
    with saved_figure(path, 11, 4.6, f"{shares[0]:.0%} of the training pixels are background") as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
        _draw_histogram(left, shares)
        _draw_background(right, background, float(shares[0]))


def _draw_histogram(axes: Axes, shares: Float[np.ndarray, " 256"]) -> None:
    colors = [ACCENT, *[PRIMARY] * 255]
    axes.bar(np.arange(256), shares, width=1, color=colors)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda share, position: f"{100 * share:g}%")
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-3, 258)
    axes.set_xticks([0, 64, 128, 192, 255])
    axes.set_xlabel("pixel value")
    axes.set_title("Share of the pixels with each value (log scale)")
    axes.annotate(
        f"background, value 0: {shares[0]:.1%}",
        (0.5, shares[0]),
        xytext=(14, -3),
        textcoords="offset points",
        va="top",
        color=ACCENT,
        fontweight="bold",
    )


def _draw_background(axes: Axes, shares: dict[str, float], overall: float) -> None:
    bars = axes.barh(list(shares), list(shares.values()), color=ACCENT, height=0.7)
    axes.bar_label(bars, [f"{share:.0%}" for share in shares.values()], label_type="center", color=INK)
    axes.axvline(overall, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_xlim(0, 1)
    axes.set_title(f"Share of background in each class (all: {overall:.0%})")


def draw_augmentation(images: Images, augment: Augment, classes: Sequence[str], path: Path) -> None:
    """Plot images and, below them, several augmented versions of each.

    Args:
        images: ``(n, h, w, c)`` uint8, 0-255, a column each.
        augment: Called with all images once for each version, with seeds 0, 1, 2, and so on.
        classes: Names above the columns, left out where a class has no image.
        path: The PNG file.
    """
    before = images[None] / 255
    after = np.stack([augment(images, seed) for seed in range(AUGMENTED_VERSIONS)])
    with saved_figure(path, 11, 6.4, "What augmentation does to ten training images") as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=[1, AUGMENTED_VERSIONS])
        show_tiles(upper, before, rows=["before"], columns=classes if len(images) == len(classes) else ())
        show_tiles(lower, after, rows=["after"] + [""] * (AUGMENTED_VERSIONS - 1))
