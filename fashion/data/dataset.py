"""The interface between data and everything else: class names, and arrays split into train, validation and test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fashion.arrays import GrayImages, Labels, Sources
from fashion.data.image_rows import ImageArray
from fashion.data.split import SplitName
from fashion.preprocessing.input_spec import InputSpec


class PixelStatistics(NamedTuple):
    """Statistics of the training images' pixels in [0, 1].

    Attributes:
        mean: Of each channel.
        deviation: The standard deviation of each channel.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class PageText(NamedTuple):
    """What the web page of a model says about its data.

    Attributes:
        question: The heading.
        subject: What to upload.
        limitations: Sentences, each about images that the model does not do well on.
    """

    question: str = "What is in this image?"
    subject: str = "an image"
    limitations: tuple[str, ...] = ()


DEFAULT_PAGE = PageText()


class SkippedFile(NamedTuple):
    """A file of the data set that is left out.

    Attributes:
        source: Its path in the data set's folder.
        reason: Why it cannot be read.
    """

    source: str
    reason: str


class PhotoKnowledge(NamedTuple):
    """What is known about photos of the classes, for a data set of product images.

    Attributes:
        priors: Class to its prior on photos relative to that on the training images; 1 for a class that is missing.
        synthetic_ood: From grey images, their labels, a number and a random generator to that many images of none of
            the classes, on which a model for photos learns to abstain.
    """

    priors: Mapping[str, float]
    synthetic_ood: Callable[[GrayImages, Labels, int, np.random.Generator], GrayImages]


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split, in the order of their source.

    Attributes:
        images: ``(n, h, w, c)`` uint8, 0-255: an array, or rows of a file, which are read when they are indexed.
        labels: ``(n,)`` int64, an index into ``Dataset.classes``.
        sources: ``(n,)``, where each image comes from: its position in the official file, int64, ascending; or the path
            of its own file.
    """

    images: ImageArray
    labels: Labels
    sources: Sources

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits that share no image.

    Attributes:
        name: In file names and addresses: lower-case letters, digits and underscores.
        title: As people write it.
        classes: Name of each class, in the order of the labels and of a model's probabilities.
        input: The size of the images, and how image files become such images.
        pixels: Statistics of the training images.
        train: For fitting.
        validation: For choices: the epoch to keep, calibration, thresholds.
        test: For the final figures alone.
        digests: Name of each file, or of the whole, to SHA-256 of what the arrays come from.
        page: What the web page says about the data.
        skipped: The files that cannot be read, if the configuration allows to skip them.
        drawn: The splits that are drawn at random from all images, so that they differ once the images change.
        photos: What is known about photos; None if the images are photos themselves, or nothing is known.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    input: InputSpec
    pixels: PixelStatistics
    train: Split
    validation: Split
    test: Split
    digests: dict[str, str]
    page: PageText = DEFAULT_PAGE
    skipped: tuple[SkippedFile, ...] = ()
    drawn: tuple[SplitName, ...] = ()
    photos: PhotoKnowledge | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.input.shape
