"""How much of its accuracy a model retains on corrupted test images: a table, a heat map, a sheet of samples."""

import csv
import io
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fashion.arrays import Image, Images, Labels, Probabilities
from fashion.data.image_rows import ImageArray
from fashion.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fashion.evaluation.records import Robustness
from fashion.figures import reduced, saved_figure, show_tiles
from fashion.files import write_text
from fashion.palette import INK

Predict = Callable[[Images], Probabilities]

LEVELS = range(1, SEVERITIES + 1)

# Images are corrupted and predicted in parts of this size, so that memory does not grow with their number.
PART_BYTES = 2**26
SAMPLE_SIDE = 96  # pixels; larger images are reduced on the sheet of samples


def robustness(predict: Predict, images: ImageArray, labels: Labels, seed: int) -> Robustness:
    """Measure the accuracy on clean images and on each corruption of them.

    Args:
        predict: From images to probabilities.
        images: The test images.
        labels: Their classes.
        seed: Seed of the corruptions; the same one gives the same images.
    """
    started = time.monotonic()
    size = max(1, PART_BYTES // math.prod(images.shape[1:]))
    right: dict[tuple[str, int], int] = Counter()
    for start in range(0, len(images), size):
        part, truth = images[start : start + size], labels[start : start + size]
        positions = np.arange(start, start + len(part))
        right["none", 0] += int(np.sum(predict(part).argmax(axis=1) == truth))
        for name, severity in itertools.product(CORRUPTIONS, LEVELS):
            corrupted = corrupt(part, name, severity, seed=seed, positions=positions)
            right[name, severity] += int(np.sum(predict(corrupted).argmax(axis=1) == truth))
    table = {name: [right[name, severity] / len(images) for severity in LEVELS] for name in CORRUPTIONS}
    return Robustness(
        seed=seed,
        images=len(images),
        clean_accuracy=right["none", 0] / len(images),
        mean_corruption_accuracy=float(np.mean(list(table.values()))),
        accuracy=table,
        seconds=time.monotonic() - started,
    )


def write_table(measured: Robustness, path: Path) -> None:
    """Write accuracies as CSV, a row for each corruption and severity, with its strength."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["corruption", "severity", "parameter", "strength", "accuracy"])
    rows.writerow(["none", 0, "", "", measured.clean_accuracy])
    for name, accuracies in measured.accuracy.items():
        corruption = CORRUPTIONS[name]
        for severity, strength, share in zip(LEVELS, corruption.strengths, accuracies, strict=True):
            rows.writerow([name, severity, corruption.parameter, strength, share])
    write_text(path, text.getvalue())


def draw_heat_map(measured: Robustness, path: Path) -> None:
    """Draw accuracies: a row for each corruption, a column for each severity and one for their mean."""
    accuracies = np.array(list(measured.accuracy.values()))
    cells = np.column_stack([accuracies, accuracies.mean(axis=1)])
    clean, mean = measured.clean_accuracy, measured.mean_corruption_accuracy
    title = f"Accuracy in %: {100 * clean:.1f} clean, {100 * mean:.1f} corrupted"
    with saved_figure(path, 7.6, 6.4, title) as figure:
        axes = figure.subplots()
        axes.imshow(cells, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.set_xticks(range(SEVERITIES + 1), [*(f"severity {level}" for level in LEVELS), "mean"])
        axes.set_yticks(range(len(cells)), [name.replace("_", " ") for name in measured.accuracy])
        axes.axvline(SEVERITIES - 0.5, color="white", linewidth=6)
        for (row, column), share in np.ndenumerate(cells):
            colour = "white" if share > 0.55 else INK
            axes.text(column, row, f"{100 * share:.1f}", ha="center", va="center", color=colour, fontsize=9)


def draw_samples(image: Image, seed: int, path: Path) -> None:
    """Draw one image under every corruption, a row for each, from severity 1 to 5."""
    tiles = np.stack(
        [
            [reduced(corrupt(image[np.newaxis], name, severity, seed=seed)[0], SAMPLE_SIDE) for severity in LEVELS]
            for name in CORRUPTIONS
        ]
    )
    half = -(-len(tiles) // 2)
    names = [name.replace("_", " ") for name in CORRUPTIONS]
    with saved_figure(path, 9.4, 6.2, "Fifteen corruptions of one image, severity 1 to 5") as figure:
        for axes, rows in zip(figure.subplots(1, 2), (slice(half), slice(half, None)), strict=True):
            table = np.full((half, *tiles.shape[1:]), np.nan)
            table[: len(names[rows])] = tiles[rows] / 255
            show_tiles(axes, table, rows=names[rows], columns=[str(level) for level in LEVELS])
