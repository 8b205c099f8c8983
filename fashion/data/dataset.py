"""What the rest of the project knows of the data: arrays, split into train, validation and test, and class names."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of three splits that share no image.

    Attributes:
        classes: Name of each class, in the order of the labels and of a model's probabilities.
        train_images: ``(n, h, w)`` uint8, 0-255, in the order of the source.
        train_labels: ``(n,)`` int64, an index into ``classes``.
        validation_images: As ``train_images``.
        validation_labels: As ``train_labels``.
        test_images: As ``train_images``.
        test_labels: As ``train_labels``.
        digests: File name to SHA-256 of the file that the arrays come from.
        positions: Split name to the places of its images in the source, ascending int64; empty if there is no source.
    """

    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    digests: dict[str, str]
    positions: dict[str, np.ndarray] = field(default_factory=dict)
