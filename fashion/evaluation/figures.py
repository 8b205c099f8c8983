"""Pictures of how a training went and where the model errs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fashion.files import replacing


def training_curves(history: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw loss and accuracy over the epochs, training beside validation."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = np.arange(1, len(history["loss"]) + 1)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, history[name], label="training")
        axes.plot(epochs, history[f"val_{name}"], label="validation")
        axes.legend()
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)


def confusion(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix of ``(classes, classes)`` counts; row: true, column: predicted."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.log1p(counts))
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)
