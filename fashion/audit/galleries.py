"""Galleries of near duplicates and of likely label errors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fashion.arrays import Flags, Images, Labels
from fashion.audit.audited_images import AuditedImages
from fashion.audit.duplicates import SimilarPairs
from fashion.figures import reduced, saved_figure, show_tiles

SHOWN_PAIRS = 14
ERROR_ROWS, ERROR_COLUMNS = 4, 8
SHOWN_ERRORS = ERROR_ROWS * ERROR_COLUMNS
TILE_SIDE = 96  # pixels; larger images are reduced
MAX_LETTERS = 18  # of a class name above an image


def draw_pairs(images: AuditedImages, near: SimilarPairs, in_test: Flags, path: Path) -> None:
    """Draw near duplicates, one above the other: across and within splits, the most and the least similar pairs.

    Args:
        images: All images.
        near: Pairs of them, the most similar first.
        in_test: Which of them are test images.
        path: The PNG file.
    """
    across = in_test[near.first] != in_test[near.second]
    rows = {
        "train and test: the most similar pairs": np.flatnonzero(across)[:SHOWN_PAIRS],
        "train and test: the least similar pairs": np.flatnonzero(across)[::-1][:SHOWN_PAIRS],
        "within a split: the most similar pairs": np.flatnonzero(~across)[:SHOWN_PAIRS],
        "within a split: the least similar pairs": np.flatnonzero(~across)[::-1][:SHOWN_PAIRS],
    }
    with saved_figure(path, 11, 7.6, "Near duplicates, one above the other") as figure:
        for axes, (title, chosen) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
            pairs = near.where(chosen)
            sides = [[reduced(image, TILE_SIDE) for image in images[one]] for one in (pairs.first, pairs.second)]
            tiles = np.full((2, SHOWN_PAIRS, *reduced(images[:1][0], TILE_SIDE).shape), np.nan)
            if len(chosen):
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
                title = f"{_short(classes[labels[position]])}\n→ {_short(classes[guesses[position]])}"
                axes.set_title(title, fontsize=9, loc="center", pad=4)


def _short(name: str) -> str:
    return name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 1]}…"
