"""Galleries of near duplicates and of likely label errors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fashion.arrays import Flags, GrayImages, Labels
from fashion.audit.duplicates import SimilarPairs
from fashion.figures import saved_figure, show_tiles

SHOWN_PAIRS = 14
ERROR_ROWS, ERROR_COLUMNS = 4, 8


def draw_pairs(images: GrayImages, near: SimilarPairs, in_test: Flags, path: Path) -> None:
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
            tiles = np.full((2, SHOWN_PAIRS, *images.shape[1:]), np.nan)
            pairs = near.where(chosen)
            tiles[0, : len(chosen)], tiles[1, : len(chosen)] = images[pairs.first] / 255, images[pairs.second] / 255
            show_tiles(axes, tiles[..., np.newaxis], columns=[f"{similarity:.4f}" for similarity in pairs.similarity])
            axes.set_title(title)


def draw_errors(images: GrayImages, labels: Labels, guesses: Labels, classes: Sequence[str], path: Path) -> None:
    """Draw the first 32 of the images, each below its label and the quick model's prediction.

    Args:
        images: The most likely label errors first.
        labels: As given.
        guesses: Predicted by the quick model.
        classes: Names of the classes.
        path: The PNG file.
    """
    with saved_figure(path, 11, 7.2, "The most likely label errors: label → the quick model's prediction") as figure:
        for position, axes in enumerate(figure.subplots(ERROR_ROWS, ERROR_COLUMNS).flat):
            axes.axis("off")
            if position < len(images):
                axes.imshow(images[position], cmap="gray", vmin=0, vmax=255)
                title = f"{classes[labels[position]]}\n→ {classes[guesses[position]]}"
                axes.set_title(title, fontsize=9, loc="center", pad=4)
