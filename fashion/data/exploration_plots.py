"""Figures of a data set: examples and means of its classes, its pixel values, and what augmentation does.

Of many classes, those with the most training images are shown.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from fashion.arrays import Images, Labels
from fashion.data.dataset import Dataset
from fashion.data.image_rows import ImageArray
from fashion.figures import reduced, saved_figure, shortened, show_tiles
from fashion.palette import ACCENT, INK, PRIMARY

# From images (n, h, w, c) uint8, 0-255, and a seed to images (n, h, w, c) float in [0, 1].
Augment = Callable[[Images, int], Float[np.ndarray, "n h w c"]]

EXAMPLES_PER_CLASS = 10
AUGMENTED_VERSIONS = 4
MAX_ROWS, MAX_COLUMNS = 20, 10  # classes in one figure, one below or beside the other
BLOCK = 500  # images in memory at once
TILE_SIDE = 96  # pixels; larger images are reduced
MAX_LETTERS = 12  # of a class name above a column
CHANNELS = {1: ((PRIMARY, "grey"),), 3: (("#b23a48", "red"), ("#5b8e7d", "green"), (PRIMARY, "blue"))}
# Of grey images with at least this share of black pixels, black is a background, and its share is shown by class.
BLACK_SHARE = 0.2


def draw_classes(dataset: Dataset, path: Path) -> None:
    """Plot the first ten training images of each class, a row for a class."""
    labels, shown = _largest_classes(dataset, MAX_ROWS)
    first = dataset.train.images[:1]
    tiles = np.full((len(labels), EXAMPLES_PER_CLASS, *_tiles(first)[0].shape), np.nan)
    for row, label in enumerate(labels):
        examples = dataset.train.images[np.flatnonzero(dataset.train.labels == label)[:EXAMPLES_PER_CLASS]]
        if len(examples):
            tiles[row, : len(examples)] = _tiles(examples) / 255
    title = f"{dataset.title}: ten training images of {shown}"
    with saved_figure(path, 8.6, 0.8 + 0.74 * len(labels), title) as figure:
        show_tiles(figure.add_subplot(), tiles, rows=[dataset.classes[label] for label in labels])


def draw_class_means(dataset: Dataset, path: Path) -> None:
    """Plot each class's mean training image and, below it, the standard deviation of each pixel."""
    labels, shown = _largest_classes(dataset, MAX_COLUMNS)
    moments = [_mean_and_deviation(dataset.train.images, dataset.train.labels == label) for label in labels]
    means, deviations = (np.stack([reduced(each, TILE_SIDE) for each in part]) for part in zip(*moments, strict=True))
    names = [shortened(dataset.classes[label], MAX_LETTERS) for label in labels]
    title = "What a class looks like on average, and where its images differ"
    if len(labels) < len(dataset.classes):
        title = f"{shown[0].upper()}{shown[1:]} on average, and where their images differ"
    with saved_figure(path, max(4.6, 1.2 * len(labels)), 3.4, title) as figure:
        upper, lower = figure.subplots(2, 1)
        image = show_tiles(upper, means[None], rows=["mean"], columns=names)
        upper.set_anchor("E")  # as the colour bar does with the row below
        if dataset.image_shape[2] == 1:
            bar = figure.colorbar(image, ax=upper, ticks=[0, 0.5, 1], shrink=0.72, aspect=7, pad=0.01)
            bar.outline.set_visible(False)
        # Of colours, the mean over the channels.
        spread = deviations.mean(axis=3, keepdims=True)
        image = show_tiles(lower, spread[None], rows=["standard\ndeviation"], cmap="magma", vmax=0.5)
        bar = figure.colorbar(image, ax=lower, ticks=[0, 0.25, 0.5], shrink=0.72, aspect=7, pad=0.01)
        bar.outline.set_visible(False)


def _mean_and_deviation(
    images: ImageArray, members: np.ndarray
) -> tuple[Float[np.ndarray, "h w c"], Float[np.ndarray, "h w c"]]:
    """Return mean and standard deviation of each pixel in [0, 1], of some of the images."""
    rows = np.flatnonzero(members)
    total, squares = np.zeros(images.shape[1:]), np.zeros(images.shape[1:])
    for start in range(0, len(rows), BLOCK):
        block = images[rows[start : start + BLOCK]].astype(np.float32) / np.float32(255)
        total += block.sum(axis=0, dtype=np.float64)
        squares += np.square(block, dtype=np.float64).sum(axis=0)
    mean = total / max(len(rows), 1)
    return mean, np.sqrt(np.maximum(squares / max(len(rows), 1) - mean**2, 0))


def draw_pixel_histogram(dataset: Dataset, histogram: Int[np.ndarray, "c 256"], path: Path) -> None:
    """Plot the histogram of the training pixels' values on a log scale, and how dark each class is.

    Args:
        dataset: The data set.
        histogram: How many pixels of the training images have each value, in each channel.
        path: The PNG file.
    """
    shares = histogram / histogram.sum(axis=1, keepdims=True)
    labels, _ = _largest_classes(dataset, MAX_ROWS)
    names = [dataset.classes[label] for label in labels]
    is_black = len(shares) == 1 and float(shares[0, 0]) >= BLACK_SHARE
    of = (lambda block: block == 0) if is_black else (lambda block: block / np.float32(255))
    by_class = [_class_mean(dataset.train.images, dataset.train.labels == label, of) for label in labels]
    overall = float(shares[0, 0]) if is_black else float((shares @ np.arange(256)).mean() / 255)
    title = f"{overall:.0%} of the training pixels are black" if is_black else "Pixel values of the training images"
    with saved_figure(path, 11, max(4.6, 0.28 * len(labels)), title) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
        _draw_histogram(left, shares, is_black)
        what = "Share of black pixels in each class" if is_black else "Mean brightness of each class"
        _draw_by_class(right, names, by_class, overall, f"{what} (all: {overall:.0%})")


def _class_mean(images: ImageArray, members: np.ndarray, of: Callable[[Images], np.ndarray]) -> float:
    rows = np.flatnonzero(members)
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    total = sum(float(of(images[block]).sum(dtype=np.float64)) for block in blocks)
    return total / max(len(rows) * int(np.prod(images.shape[1:])), 1)


def _draw_histogram(axes: Axes, shares: Float[np.ndarray, "c 256"], is_black: bool) -> None:
    channels = CHANNELS[len(shares)]
    if len(channels) == 1:
        axes.bar(np.arange(256), shares[0], width=1, color=[ACCENT if is_black else PRIMARY, *[PRIMARY] * 255])
    else:
        for (colour, name), share in zip(channels, shares, strict=True):
            axes.step(np.arange(256), share, where="mid", color=colour, linewidth=1.2, label=name)
        axes.legend(loc="lower center", ncols=3)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda share, position: f"{100 * share:g}%")
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-3, 258)
    axes.set_xticks([0, 64, 128, 192, 255])
    axes.set_xlabel("pixel value")
    axes.set_title("Share of the pixels with each value (log scale)")
    if is_black:
        axes.annotate(
            f"black, value 0: {shares[0, 0]:.1%}",
            (0.5, shares[0, 0]),
            xytext=(14, -3),
            textcoords="offset points",
            va="top",
            color=ACCENT,
            fontweight="bold",
        )


def _draw_by_class(axes: Axes, names: Sequence[str], shares: Sequence[float], overall: float, title: str) -> None:
    bars = axes.barh(range(len(names)), shares, color=ACCENT, height=0.7)
    axes.bar_label(bars, [f"{share:.0%}" for share in shares], label_type="center", color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.axvline(overall, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_xlim(0, 1)
    axes.set_title(title)


def draw_augmentation(images: Images, names: Sequence[str], augment: Augment, path: Path) -> None:
    """Plot images and, below them, several augmented versions of each.

    Args:
        images: ``(n, h, w, c)`` uint8, 0-255, a column each.
        names: Their classes, above the columns.
        augment: Called with all images once for each version, with seeds 0, 1, 2, and so on.
        path: The PNG file.
    """
    before = _tiles(images)[None] / 255
    after = np.stack([_tiles(augment(images, seed)) for seed in range(AUGMENTED_VERSIONS)])
    title = f"What augmentation does to {len(images)} training images"
    with saved_figure(path, max(7.0, 1.1 * len(images)), 6.4, title) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=[1, AUGMENTED_VERSIONS])
        show_tiles(upper, before, rows=["before"], columns=[shortened(name, MAX_LETTERS) for name in names])
        show_tiles(lower, np.clip(after, 0, 1), rows=["after"] + [""] * (AUGMENTED_VERSIONS - 1))


def _largest_classes(dataset: Dataset, count: int) -> tuple[Labels, str]:
    """Return the labels of the classes with the most training images, in class order, and which they are in words."""
    if len(dataset.classes) <= count:
        return np.arange(len(dataset.classes)), "each class"
    images = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
    largest = np.sort(np.argsort(-images, kind="stable")[:count])
    return largest, f"the {count} largest of {len(dataset.classes)} classes"


def _tiles(images: Float[np.ndarray, "n h w c"] | Images) -> np.ndarray:
    return np.stack([reduced(image, TILE_SIDE) for image in images])
