"""Training curves and the confusion matrix."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fashion.arrays import ConfusionMatrix
from fashion.figures import saved_figure, shortened
from fashion.palette import ACCENT, INK, PRIMARY

MAX_COUNTED, MAX_NAMED = 20, 50  # classes whose cells have numbers, and whose axes have all names
MAX_LETTERS = 24  # of a name


def training_curves(history: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw loss and accuracy by epoch, on training and validation images.

    Args:
        history: ``loss``, ``accuracy``, ``val_loss`` and ``val_accuracy`` after each epoch.
        path: The PNG file.
    """
    epochs = np.arange(1, len(history["loss"]) + 1)
    best = int(np.argmin(history["val_loss"]))
    with saved_figure(path, 10, 4.2, "Training") as figure:
        for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            training, validation = history[name], history[f"val_{name}"]
            axes.plot(epochs, training, color=PRIMARY, marker="o", markersize=4, label="training")
            axes.plot(epochs, validation, color=ACCENT, marker="o", markersize=4, label="validation")
            axes.axvline(epochs[best], color=INK, linewidth=0.8, linestyle=":", label="lowest validation loss")
            axes.set_title(name)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def confusion_matrix(counts: ConfusionMatrix, classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix: shares of each row as colours, counts as numbers; of many classes the colours alone.

    Args:
        counts: Row: the true class, column: the predicted one.
        classes: Names in the order of the rows.
        path: The PNG file.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    accuracy = np.trace(counts) / counts.sum()
    title = f"Confusion matrix: {accuracy:.2%} accuracy on {counts.sum():,} test images"
    counted = len(classes) <= MAX_COUNTED
    side = max(5.0, 3.0 + 0.56 * len(classes)) if counted else 12.0
    # Every class has a cell, and a name if there is room; small shares of many classes would be invisible otherwise.
    step = -(-len(classes) // MAX_NAMED)
    names = [shortened(name, MAX_LETTERS) for name in classes[::step]]
    with saved_figure(path, side, side - 1, title) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", norm=PowerNorm(1.0 if counted else 0.5, 0, 1))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks(range(0, len(classes), step), names, ha="right", rotation_mode="anchor")
        axes.tick_params(axis="x", rotation=40 if counted else 90)
        axes.set_yticks(range(0, len(classes), step), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if not counted:
            return
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else INK
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour, fontsize=9)
