"""The arrays of Fashion-MNIST, split into train, validation and test."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from fashion.data import fashion_mnist_files
from fashion.errors import InputError

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# A smaller test set would say little: at 1,000 images the 95 % interval of an accuracy of 0.9 is 0.88 to 0.92.
LEAST_TEST_IMAGES = 1_000
# The test images of a limited run do not depend on the run's seed: runs that differ in it stay comparable.
TEST_SUBSET_SEED = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, each split in the order of the official files.

    Attributes:
        train_images: ``(n, 28, 28)`` uint8, 0-255.
        train_labels: ``(n,)`` int64, 0-9, an index into ``CLASSES``.
        validation_images: As ``train_images``; no image is in both.
        validation_labels: As ``train_labels``.
        test_images: As ``train_images``, from the official test set.
        test_labels: As ``train_labels``.
        digests: File name to SHA-256 of the decompressed IDX file that the arrays come from.
        positions: Split name to the images' places in the official file, ascending int64; empty where there is none.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    digests: dict[str, str]
    positions: dict[str, np.ndarray] = field(default_factory=dict)


def fashion_mnist(
    root: str,
    download: bool,
    limit: PositiveInt | None,
    validation_fraction: Annotated[float, Field(gt=0, lt=1)],
    *,
    seed: int,
) -> Dataset:
    """Load Fashion-MNIST and split its training images into train and validation, with all classes in proportion.

    Args:
        root: Folder that keeps the verified files; ``~`` is the user's home.
        download: Whether missing files may be fetched from the network.
        limit: Number of training images to use, validation included, and with them the same share of the test
            images, but no fewer than 1,000. None uses all.
        validation_fraction: Share of the training images that validates.
        seed: Chooses the images of the subset and of the validation split; not negative.

    Raises:
        InputError: The files cannot be had or are not the right ones, or a class would be left without images.
    """
    files = fashion_mnist_files.load_idx_files(Path(root).expanduser(), download)
    available = len(files.train_labels)
    if limit is not None and limit > available:
        raise InputError(f"data.limit is {limit}, but there are {available} training images; use at most that or null")
    random = _generator(seed)
    chosen = stratified_sample(files.train_labels, limit or available, random)
    train, validation = stratified_split(files.train_labels[chosen], validation_fraction, random)
    train, validation = chosen[train], chosen[validation]
    test = _test_subset(files.test_labels, 1.0 if limit is None else limit / available)
    return Dataset(
        train_images=files.train_images[train],
        train_labels=files.train_labels[train],
        validation_images=files.train_images[validation],
        validation_labels=files.train_labels[validation],
        test_images=files.test_images[test],
        test_labels=files.test_labels[test],
        digests=files.digests,
        positions={"train": train, "validation": validation, "test": test},
    )


def stratified_sample(labels: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Choose ``size`` different positions of ``labels`` so that every class keeps its share.

    The classes' shares are rounded by the method of largest remainders: none is off by one or more, and the sum is
    ``size`` exactly.

    Args:
        labels: ``(n,)`` int64, any class numbers.
        size: How many positions, 0 to n.
        random: Source of the choice.

    Returns:
        ``(size,)`` int64, ascending.
    """
    classes, counts = np.unique(labels, return_counts=True)
    # In integers, so that no platform's rounding matters: share = size * count / n, its whole part and its remainder.
    shares, remainders = np.divmod(size * counts, max(len(labels), 1))
    largest_first = np.argsort(-remainders, kind="stable")
    shares[largest_first[: size - shares.sum()]] += 1
    chosen = [
        random.permutation(np.flatnonzero(labels == number))[:share]
        for number, share in zip(classes, shares, strict=True)
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def stratified_split(
    labels: np.ndarray, validation_fraction: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the positions of ``labels`` into train and validation, every class in proportion.

    Args:
        labels: ``(n,)`` int64, 0-9.
        validation_fraction: Share of the positions that validates, between 0 and 1.
        random: Source of the choice.

    Returns:
        Train ``(n - m,)`` and validation ``(m,)`` positions, int64, ascending, ``m = round(validation_fraction * n)``.

    Raises:
        InputError: A class would have no image in train or none in validation.
    """
    validation = stratified_sample(labels, round(validation_fraction * len(labels)), random)
    train = np.setdiff1d(np.arange(len(labels)), validation, assume_unique=True)
    lacking = [
        f"{split} has no image of {', '.join(_absent(labels[positions]))}"
        for split, positions in (("train", train), ("validation", validation))
        if _absent(labels[positions])
    ]
    if lacking:
        enough = len(CLASSES) * math.ceil(1 / min(validation_fraction, 1 - validation_fraction))
        raise InputError(
            f"{len(labels)} training images with data.validation_fraction={validation_fraction} are too few: "
            f"{' and '.join(lacking)}; expected every class in both, so set data.limit to {enough} or more, "
            "or data.validation_fraction nearer to 0.5"
        )
    return train, validation


def _test_subset(labels: np.ndarray, fraction: float) -> np.ndarray:
    size = min(len(labels), max(LEAST_TEST_IMAGES, round(fraction * len(labels))))
    return stratified_sample(labels, size, _generator(TEST_SUBSET_SEED))


def _absent(labels: np.ndarray) -> list[str]:
    return [name for number, name in enumerate(CLASSES) if number not in labels]


def _generator(seed: int) -> np.random.Generator:
    # Named, not numpy's default generator, which a later numpy may change: a seed means the same split for good.
    return np.random.Generator(np.random.PCG64(seed))
