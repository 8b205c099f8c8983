"""The splits of a data set of image files: given with the files, or drawn."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fashion.arrays import Labels, Positions
from fashion.data.folds import split_training_images
from fashion.data.split import TEST_SUBSET_SEED, SplitName, evaluation_subset, grouped_split, seeded_generator


class SplitPositions(NamedTuple):
    """The positions of each split's images, ``(m,)`` int64, ascending."""

    train: Positions
    validation: Positions
    test: Positions


def split_images(
    labels: Labels,
    classes: Sequence[str],
    contents: Positions,
    given: Sequence[SplitName | None],
    *,
    limit: int | None,
    validation_fraction: float,
    test_fraction: float,
    folds: int | None,
    fold: int | None,
    seed: int,
) -> SplitPositions:
    """Divide images into train, validation and test: as given, else with all classes in proportion, copies together.

    Test images are chosen first and do not depend on the seed, so that the figures of several runs are comparable.

    Args:
        labels: ``(n,)`` int64, an index into ``classes``.
        classes: Name of each class.
        contents: ``(n,)`` int64, equal for images of equal content.
        given: The split that each image is given for; a split that none is given for is drawn from the train images,
            or those that are not given for any.
        limit: Number of train images to use, including validation images that are drawn from them; given validation
            and test images are reduced in proportion, but not below ``MIN_TEST_IMAGES``. None uses all.
        validation_fraction: Share of the train images that is drawn for validation.
        test_fraction: Share of the train images that is drawn for test, before the others.
        folds: Number of folds, of the train images: given validation images are then not used. None for one split.
        fold: The fold that is the validation split, from 0.
        seed: Chooses the subset and the validation images; not negative.

    Raises:
        InputError: When there are fewer than ``limit`` images, or too few of a class.
    """
    names = np.array([name or "" for name in given])
    test, validation = np.flatnonzero(names == "test"), np.flatnonzero(names == "validation")
    train = np.flatnonzero((names != "test") & (names != "validation"))
    if not len(test):
        rest, drawn = grouped_split(
            labels[train], classes, contents[train], test_fraction, seeded_generator(TEST_SUBSET_SEED)
        )
        train, test = train[rest], train[drawn]
    available = len(train)
    is_given = len(validation) > 0 and folds is None
    rest, drawn = split_training_images(
        labels[train],
        classes,
        limit=limit,
        validation_fraction=None if is_given else validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
        groups=contents[train],
    )
    validation = validation[evaluation_subset(labels[validation], limit, available)] if is_given else train[drawn]
    return SplitPositions(train[rest], validation, test[evaluation_subset(labels[test], limit, available)])
