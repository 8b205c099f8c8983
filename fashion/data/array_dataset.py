"""A data set that is published as arrays of training and test images: reduced, split and described."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Int64, UInt8

from fashion.arrays import Images
from fashion.data.dataset import Dataset, PageText, PixelStatistics, Split
from fashion.data.folds import split_training_images
from fashion.data.split import evaluation_subset
from fashion.preprocessing.input_spec import InputSpec

DECIMALS = 4  # of the pixel statistics


@dataclass(frozen=True, eq=False)
class PublishedArrays:
    """The verified content of a data set's files.

    Attributes:
        train_images: ``(train, h, w, c)`` uint8, 0-255.
        train_labels: ``(train,)`` int64.
        test_images: ``(test, h, w, c)`` uint8, 0-255.
        test_labels: ``(test,)`` int64.
        digests: Name of each file to SHA-256 of its content.
    """

    train_images: UInt8[np.ndarray, "train h w c"]
    train_labels: Int64[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test h w c"]
    test_labels: Int64[np.ndarray, " test"]
    digests: Mapping[str, str]


def array_dataset(
    arrays: PublishedArrays,
    *,
    name: str,
    title: str,
    classes: tuple[str, ...],
    page: PageText,
    limit: int | None,
    validation_fraction: float,
    folds: int | None,
    fold: int | None,
    seed: int,
) -> Dataset:
    """Divide the training images into train and validation; the test images are reduced as they are.

    Args:
        arrays: All images.
        name: See ``Dataset``, as for the next three.
        title: See there.
        classes: See there.
        page: See there.
        limit: Number of training images to use, validation included, and with them the same share of the test images,
            but no fewer than 1,000. None uses all.
        validation_fraction: Share of the training images that goes to validation, where there are no folds.
        folds: Number of parts for cross-validation; None for one split that depends on ``seed``.
        fold: The part that is the validation split, from 0; the others are the training split.
        seed: Chooses the images of the subset and of the validation split, unless there are folds.

    Raises:
        InputError: A class would have no image in train or in validation, or there is no such fold.
    """
    train, validation = split_training_images(
        arrays.train_labels,
        classes,
        limit=limit,
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
    )
    test = evaluation_subset(arrays.test_labels, limit, len(arrays.train_labels))
    height, width, channels = arrays.train_images.shape[1:]
    return Dataset(
        name=name,
        title=title,
        classes=classes,
        input=InputSpec(height=height, width=width, channels=channels, preprocessing="resize"),
        pixels=pixel_statistics(arrays.train_images),
        train=Split(arrays.train_images[train], arrays.train_labels[train], train),
        validation=Split(arrays.train_images[validation], arrays.train_labels[validation], validation),
        test=Split(arrays.test_images[test], arrays.test_labels[test], test),
        digests=dict(arrays.digests),
        page=page,
    )


def pixel_statistics(images: Images) -> PixelStatistics:
    """Return mean and standard deviation of each channel, of pixels in [0, 1], rounded."""
    count, height, width, channels = images.shape
    found = cv2.meanStdDev(images.reshape(count * height, width, channels))
    mean, deviation = (tuple(np.round(values.ravel() / 255, DECIMALS).tolist()) for values in found)
    return PixelStatistics(mean, deviation)
