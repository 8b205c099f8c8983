"""Stratified subsets: every class keeps its share, and a seed means the same subset for good."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from fashion.arrays import Labels
from fashion.errors import InputError


def seeded_generator(*seed: int) -> np.random.Generator:
    """Return the generator of a seed, or of several numbers that together are one; none is negative.

    PCG64 by name: a later numpy may change its default generator, and with it the meaning of every seed.
    """
    return np.random.Generator(np.random.PCG64(seed))


def stratified_sample(labels: Labels, size: int, random: np.random.Generator) -> Int[np.ndarray, " size"]:
    """Choose ``size`` different positions of ``labels`` so that every class keeps its share.

    The classes' shares are rounded by the method of largest remainders: each is off by less than one image, and they
    add up to ``size`` exactly.

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
