"""The interface between data and everything else: class names, and arrays split into train, validation and test."""

from dataclasses import dataclass
from typing import NamedTuple

from fashion.arrays import GrayImages, Labels, Positions


class PixelStatistics(NamedTuple):
    """Mean and standard deviation of the pixels of the training images, in [0, 1], one of each per channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split, in the order of their source.

    Attributes:
        images: ``(n, h, w)`` uint8, 0-255.
        labels: ``(n,)`` int64, an index into ``Dataset.classes``.
        positions: ``(n,)`` int64, the place of each image in its source, ascending.
    """

    images: GrayImages
    labels: Labels
    positions: Positions

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits that share no image.

    Attributes:
        classes: Name of each class, in the order of the labels and of a model's probabilities.
        train: For fitting.
        validation: For choices: the epoch to keep, calibration, thresholds.
        test: For the final figures alone.
        digests: File name to SHA-256 of the file that the arrays come from.
    """

    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    digests: dict[str, str]
