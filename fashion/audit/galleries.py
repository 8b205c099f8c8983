"""Galleries of near duplicates and of likely label errors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fashion.arrays import Flags, Images, Labels, Positions
from fashion.audit.audited_images import AuditedImages
from fashion.audit.duplicates import SimilarPairs
from fashion.figures import reduced, saved_figure, shortened, show_tiles

SHOWN_PAIRS = 14
ERROR_ROWS, ERROR_COLUMNS = 4, 8
SHOWN_ERRORS = ERROR_ROWS * ERROR_COLUMNS
TILE_SIDE = 96  # pixels; larger images are reduced
MAX_LETTERS = 18  # of a class name above an image


def draw_pairs(images: AuditedImages, near: SimilarPairs, in_test: Flags, path: Path) -> None:
    """Draw near duplicates, one above the other: across and within splits, the most and the least similar pairs.

    Where there are few pairs all of them are the most similar ones; without any there is only the headline.

    Args:
        images: All images.
        near: Pairs of them, the most similar first.
        in_test: Which of them are test images.
        path: The PNG file.
    """
    across = in_test[near.first] != in_test[near.second]
    rows: dict[str, Positions] = {}
    for name, chosen in (("train and test", np.flatnonzero(across)), ("within a split", np.flatnonzero(~across))):
        if len(chosen):
            rows[f"{name}: the most similar pairs"] = chosen[:SHOWN_PAIRS]
        if len(chosen) > SHOWN_PAIRS:
            rows[f"{name}: the least similar pairs"] = chosen[: SHOWN_PAIRS - 1 : -1][:SHOWN_PAIRS]
    headline = "Near duplicates, one above the other" if rows else "No near duplicates"
    with saved_figure(path, 11, 0.8 + 1.7 * len(rows), headline) as figure:
        for number, (title, chosen) in enumerate(rows.items(), 1):
            axes = figure.add_subplot(len(rows), 1, number)
            pairs = near.where(chosen)
            sides = [[reduced(image, TILE_SIDE) for image in images[one]] for one in (pairs.first, pairs.second)]
            tiles = np.full((2, SHOWN_PAIRS, *np.shape(sides)[2:]), np.nan)
            tiles[:, : len(chosen)] = np.array(sides) / 255
            show_tiles(axes, tiles, columns=[f"{similarity:.4f}" for similarity in pairs.similarity])
            axes.set_title(title)


def draw_errors(images: Images, labels: Labels, guesses: Labels, classes: Sequence[str], path: Path) -> None:
    """Draw images, each below its label and the quick model's prediction.

    Args:
        images: The most likely label errors first, at most 32.
        labels: As given.
        guesses: Predicted by the quick model.
        classes: Names of the classes.
        path: The PNG file.
    """
    with saved_figure(path, 11, 7.2, "The most likely label errors: label → the quick model's prediction") as figure:
        for position, axes in enumerate(figure.subplots(ERROR_ROWS, ERROR_COLUMNS).flat):
            axes.axis("off")
            if position < len(images):
                axes.imshow(reduced(images[position], TILE_SIDE), cmap="gray", vmin=0, vmax=255)
                names = [shortened(classes[each[position]], MAX_LETTERS) for each in (labels, guesses)]
                title = "\n→ ".join(names)
                axes.set_title(title, fontsize=9, loc="center", pad=4)
