"""Stratified subsets: every class keeps its share, and a seed always gives the same subset."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int

from fashion.arrays import Labels, Positions
from fashion.errors import InputError

SplitName = Literal["train", "validation", "test"]

# With fewer an accuracy means little: at 1,000 images the 95 % interval of an accuracy of 0.9 is 0.88 to 0.92.
MIN_TEST_IMAGES = 1_000
# The test images of a limited run do not depend on its seed, so that runs of different seeds stay comparable.
TEST_SUBSET_SEED = 0
MIN_IMAGES = 3  # of a class: one for each split


def seeded_generator(*seed: int) -> np.random.Generator:
    """Return the generator of a seed, or of several numbers that together are one; none is negative.

    PCG64 by name: a later numpy may change its default generator, and with it the meaning of every seed.
    """
    return np.random.Generator(np.random.PCG64(seed))


def stratified_sample(
    labels: Labels, size: int, random: np.random.Generator, of_each_class: bool = False
) -> Int[np.ndarray, " chosen"]:
    """Choose ``size`` different positions of ``labels`` so that every class keeps its share.

    The classes' shares are rounded by the method of largest remainders: each is off by less than one image, and they
    add up to ``size`` exactly.

    Args:
        labels: ``(n,)`` int64, any class numbers.
        size: How many positions, 0 to n.
        random: Source of the choice.
        of_each_class: Whether to choose at least one position of every class, and leave one, where it has two; the
            number of positions may then differ from ``size``.

    Returns:
        ``(size,)`` int64, ascending.
    """
    classes, counts = np.unique(labels, return_counts=True)
    # In integers, so that no platform's rounding matters: share = size * count / n, its whole part and its remainder.
    shares, remainders = np.divmod(size * counts, max(len(labels), 1))
    largest_first = np.argsort(-remainders, kind="stable")
    shares[largest_first[: size - shares.sum()]] += 1
    if of_each_class:
        shares = shares.clip(1, counts - 1)
    chosen = [
        random.permutation(np.flatnonzero(labels == number))[:share]
        for number, share in zip(classes, shares, strict=True)
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def stratified_split(
    labels: Labels, classes: Sequence[str], validation_fraction: float, random: np.random.Generator
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " validation"]]:
    """Divide the positions of ``labels`` into train and validation, every class in proportion.

    Args:
        labels: ``(n,)`` int64, an index into ``classes``.
        classes: Name of each class.
        validation_fraction: Share of the positions that goes to validation, between 0 and 1.
        random: Source of the choice.

    Returns:
        Train ``(n - m,)`` and validation ``(m,)`` positions, int64, ascending, ``m = round(validation_fraction * n)``.

    Raises:
        InputError: A class would have no image in train or none in validation.
    """
    validation = stratified_sample(labels, round(validation_fraction * len(labels)), random)
    train = np.setdiff1d(np.arange(len(labels)), validation, assume_unique=True)
    lacking = [
        f"{split} has no image of {', '.join(absent)}"
        for split, positions in (("train", train), ("validation", validation))
        if (absent := _absent(labels[positions], classes))
    ]
    if lacking:
        enough = len(classes) * math.ceil(1 / min(validation_fraction, 1 - validation_fraction))
        raise InputError(
            f"{len(labels)} training images with data.validation_fraction={validation_fraction} are too few: "
            f"{' and '.join(lacking)}; expected every class in both, so set data.limit to {enough} or more, "
            "or data.validation_fraction nearer to 0.5"
        )
    return train, validation


def _absent(labels: Labels, classes: Sequence[str]) -> list[str]:
    return [name for number, name in enumerate(classes) if number not in labels]


def evaluation_subset(labels: Labels, limit: int | None, available: int) -> Int[np.ndarray, " chosen"]:
    """Return the positions of the test images of a limited run, ascending: the same share as of the training images.

    Args:
        labels: ``(n,)`` int64, of all test images.
        limit: Number of training images that the run uses; None for all.
        available: Number of training images that there are.
    """
    fraction = 1.0 if limit is None else limit / available
    size = min(len(labels), max(MIN_TEST_IMAGES, round(fraction * len(labels))))
    return stratified_sample(labels, size, seeded_generator(TEST_SUBSET_SEED))


def grouped_split(
    labels: Labels, classes: Sequence[str], groups: Positions, fraction: float, random: np.random.Generator
) -> tuple[Int[np.ndarray, " rest"], Int[np.ndarray, " drawn"]]:
    """Draw a share of each class, at least one image and never all, so that no group is divided.

    The first image of each group is drawn or not, and the others follow it. Where no two images are of one group and
    no class is small, these are the positions that ``stratified_split`` chooses.

    Args:
        labels: ``(n,)`` int64, an index into ``classes``.
        classes: Name of each class; one that ``labels`` lacks is not missed.
        groups: ``(n,)`` int64, the group of each image.
        fraction: Share of the groups to draw, between 0 and 1.
        random: Source of the choice.

    Returns:
        The other positions and the drawn ones, int64, ascending.

    Raises:
        InputError: When a class has too few groups to be in both.
    """
    first = np.sort(np.unique(groups, return_index=True)[1])
    drawn = first[stratified_sample(labels[first], round(fraction * len(first)), random, of_each_class=True)]
    is_drawn = np.isin(groups, groups[drawn])
    lacking = np.setxor1d(labels[is_drawn], labels[~is_drawn])
    if len(lacking):
        raise InputError(
            f"too few images of {', '.join(classes[number] for number in lacking)} to divide them: each class needs "
            f"{MIN_IMAGES} or more different images for train, validation and test; add images, or raise data.limit"
        )
    return np.flatnonzero(~is_drawn), np.flatnonzero(is_drawn)
