"""Cross-validation: ``data.folds=5 data.fold=2`` validates on the third of five parts and trains on the other four."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Int
from pydantic import Field

from fashion.arrays import Labels
from fashion.data.split import grouped_split, seeded_generator, stratified_sample, stratified_split
from fashion.errors import InputError

FoldCount = Annotated[int, Field(ge=2)]
FoldNumber = Annotated[int, Field(ge=0)]

# Not the run's seed: the folds of a sweep must divide the same images in the same way, whatever seed each job has.
FOLDS_SEED = 0


def check_fold(folds: int | None, fold: int | None) -> None:
    """Check that ``data.folds`` and ``data.fold`` are set together, and that there is such a fold.

    Raises:
        InputError: When one of them is missing, or the fold is not one of the folds.
    """
    if folds is None:
        if fold is not None:
            raise InputError(f"data.fold: got {fold} without data.folds; set both, as in data.folds=5 data.fold={fold}")
    elif fold is None:
        every = ",".join(map(str, range(folds)))
        raise InputError(
            f"data.fold: is not set although data.folds={folds}; -m data.folds={folds} data.fold={every} runs all"
        )
    elif fold >= folds:
        raise InputError(f"data.fold: got {fold} with data.folds={folds}, expected 0 to {folds - 1}")


def split_training_images(
    labels: Labels,
    classes: Sequence[str],
    *,
    limit: int | None,
    validation_fraction: float | None,
    folds: int | None,
    fold: int | None,
    seed: int,
    groups: Int[np.ndarray, " n"] | None = None,
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " validation"]]:
    """Divide a data set's training images into train and validation, all classes in proportion.

    Args:
        labels: ``(n,)`` int64, an index into ``classes``.
        classes: Name of each class.
        limit: How many of the images to use, train and validation together; None uses all.
        validation_fraction: Share of the images that goes to validation, where there are no folds; None for nothing.
        folds: Number of folds; None for one split that depends on ``seed``.
        fold: The fold that is the validation split, from 0.
        seed: Chooses subset and split; neither depends on it where there are folds.
        groups: ``(n,)`` Number of each image's group; a group is never divided. None: no two images belong together.

    Returns:
        Train and validation positions, int64, ascending.

    Raises:
        InputError: There are fewer images than ``limit``, or a class would have none in train or validation.
    """
    check_fold(folds, fold)
    if limit is not None and limit > len(labels):
        raise InputError(
            f"data.limit is {limit}, but there are {len(labels)} training images; use at most that or null"
        )
    random = seeded_generator(seed if folds is None else FOLDS_SEED)
    chosen = stratified_sample(labels, limit or len(labels), random)
    groups = None if groups is None else groups[chosen]
    if folds is not None:
        train, validation = fold_split(labels[chosen], classes, folds, fold or 0, groups)
    elif validation_fraction is None:
        train, validation = np.arange(len(chosen)), np.empty(0, np.int64)
    elif groups is not None:
        train, validation = grouped_split(labels[chosen], classes, groups, validation_fraction, random)
    else:
        train, validation = stratified_split(labels[chosen], classes, validation_fraction, random)
    return chosen[train], chosen[validation]


def fold_split(
    labels: Labels, classes: Sequence[str], folds: int, fold: int, groups: Int[np.ndarray, " n"] | None = None
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " validation"]]:
    """Return the positions of the images outside a fold, and of those in it: ascending int64.

    Args:
        labels: ``(n,)`` int64, an index into ``classes``.
        classes: Name of each class.
        folds: Number of folds, at least 2.
        fold: The fold that is the validation split, from 0.
        groups: ``(n,)`` Number of each image's group; a group is never divided. None: no two images belong together.

    Raises:
        InputError: A class has no image in one of the folds.
    """
    assigned = assign_folds(labels, folds, groups)
    for number, name in enumerate(classes):
        found = len(np.unique(assigned[labels == number]))
        if found < folds:
            images = int((labels == number).sum())
            apart = " (copies of one image count once)" if groups is not None and images >= folds else ""
            raise InputError(
                f"data.folds: got {folds}, but the {images} training images of {name} fill only {found} folds{apart}; "
                "every fold needs images of every class, so lower data.folds or raise data.limit"
            )
    return np.flatnonzero(assigned != fold), np.flatnonzero(assigned == fold)


def assign_folds(labels: Labels, folds: int, groups: Int[np.ndarray, " n"] | None = None) -> Int[np.ndarray, " n"]:
    """Return the fold of each image: all classes in proportion, groups undivided, the same at every call.

    Groups of several images go first, the largest ones before the others, each to the fold that has the fewest images
    of its classes. The single images then even out what the groups have left uneven. Without groups, two folds differ
    by at most one image, in all and in every class.

    Args:
        labels: ``(n,)`` int64, class numbers.
        folds: Number of folds.
        groups: ``(n,)`` Number of each image's group; None: no two images belong together.

    Returns:
        ``(n,)`` int64, 0 to ``folds - 1``.
    """
    random = seeded_generator(FOLDS_SEED)
    numbers, classes = np.unique(labels, return_inverse=True)
    counts = np.zeros((folds, len(numbers)), np.int64)
    assigned = np.full(len(labels), -1)
    for members in [] if groups is None else _members(groups, random):
        own = np.bincount(classes[members], minlength=len(numbers))
        fold = np.lexsort((counts.sum(axis=1), counts @ own))[0]
        assigned[members] = fold
        counts[fold] += own
    for number in range(len(numbers)):
        single = random.permutation(np.flatnonzero((classes == number) & (assigned < 0)))
        # Fill the emptiest folds: of all the levels that a fold may be raised to, take as many as there are images.
        order = np.argsort(counts.sum(axis=1), kind="stable")
        levels = counts[order, number] + np.arange(len(single))[:, None]
        raised = order[np.argsort(levels.ravel(), kind="stable")[: len(single)] % folds]
        assigned[single] = raised
        counts[:, number] += np.bincount(raised, minlength=folds)
    return assigned


def _members(groups: Int[np.ndarray, " n"], random: np.random.Generator) -> list[Int[np.ndarray, " members"]]:
    """Return the positions of every group of at least two images, large groups first, groups of one size shuffled."""
    by_group = np.argsort(groups, kind="stable")
    sizes = np.unique(groups, return_counts=True)[1]
    together = [members for members in np.split(by_group, np.cumsum(sizes)[:-1]) if len(members) > 1]
    return sorted((together[index] for index in random.permutation(len(together))), key=len, reverse=True)
