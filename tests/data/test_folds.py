"""Laws of the folds of cross-validation, on arbitrary labels and groups, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion.data.folds import assign_folds, check_fold, fold_split, split_training_images
from fashion.data.split import seeded_generator, stratified_sample, stratified_split
from fashion.errors import FashionError

seeds = st.integers(0, 2**32)
label_arrays = st.builds(
    lambda counts, seed: seeded_generator(seed).permutation(np.repeat(np.arange(len(counts)), counts)),
    st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any),
    seeds,
)


@given(labels=label_arrays, folds=st.integers(2, 7))
def test_folds_differ_by_at_most_one_image_in_all_and_in_every_class(labels: np.ndarray, folds: int) -> None:
    assigned = assign_folds(labels, folds)
    for members in [assigned, *(assigned[labels == number] for number in np.unique(labels))]:
        assert np.ptp(np.bincount(members, minlength=folds)) <= 1
    assert set(assigned) <= set(range(folds))


@given(labels=label_arrays, folds=st.integers(2, 7), seed=seeds)
def test_a_group_is_in_one_fold(labels: np.ndarray, folds: int, seed: int) -> None:
    groups = seeded_generator(seed).integers(0, max(1, 2 * len(labels) // 3), len(labels))
    assigned = assign_folds(labels, folds, groups)
    assert all(len(set(assigned[groups == number])) == 1 for number in groups)
    # The greedy choice bounds a class's imbalance by its largest group.
    for number in np.unique(labels):
        members = labels == number
        largest = np.bincount(groups[members]).max()
        assert np.ptp(np.bincount(assigned[members], minlength=folds)) <= max(1, largest * len(np.unique(labels)))


def test_copies_of_an_image_are_validated_together_and_the_rest_evens_the_folds_out() -> None:
    labels = np.tile(np.arange(2), 30)
    groups = np.arange(60)
    groups[:14:2] = 0  # seven copies of one image
    assigned = assign_folds(labels, 3, groups)
    assert len(set(assigned[:14:2])) == 1
    assert np.bincount(assigned).tolist() == [20, 20, 20]
    assert np.bincount(assigned[labels == 0]).tolist() == [10, 10, 10]


def test_the_folds_are_these_everywhere() -> None:
    """A known answer: a platform or a numpy that divides otherwise makes cross-validations incomparable."""
    assert "".join(map(str, assign_folds(np.tile(np.arange(3), 7), 3))) == "200020022211101112012"


def split(labels: np.ndarray, fold: int | None, seed: int, **changed: int | None) -> tuple[np.ndarray, np.ndarray]:
    keys = {"limit": 60, "validation_fraction": 0.25, "folds": 3, **changed}
    return split_training_images(labels, "abcd", fold=fold, seed=seed, **keys)


def test_the_folds_of_all_seeds_divide_the_same_images() -> None:
    labels = np.tile(np.arange(4), 50)
    parts = [split(labels, fold, seed=fold) for fold in range(3)]
    every = np.sort(np.concatenate([validation for _, validation in parts]))
    assert len(every) == len(set(every)) == 60
    for train, validation in parts:
        assert np.array_equal(np.sort(np.concatenate([train, validation])), every)
        assert np.bincount(labels[validation]).tolist() == [5] * 4
    assert not np.array_equal(every, np.arange(60))  # of 200


def test_without_folds_the_split_is_that_of_the_seed() -> None:
    labels = np.tile(np.arange(4), 50)
    train, validation = split(labels, None, 5, folds=None, limit=None)
    random = seeded_generator(5)
    # What chose the images of every earlier run: the subset first, though it is all of them, then the split.
    stratified_sample(labels, 200, random)
    expected = stratified_split(labels, "abcd", 0.25, random)
    assert np.array_equal(train, expected[0])
    assert np.array_equal(validation, expected[1])


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (None, 0, "data.fold: got 0 without data.folds; set both, as in data.folds=5 data.fold=0"),
        (3, None, "data.fold: is not set although data.folds=3; -m data.folds=3 data.fold=0,1,2 runs all"),
        (3, 3, "data.fold: got 3 with data.folds=3, expected 0 to 2"),
    ],
)
def test_a_fold_that_does_not_exist_is_refused(folds: int | None, fold: int | None, message: str) -> None:
    with pytest.raises(FashionError) as caught:
        check_fold(folds, fold)
    assert str(caught.value) == message


@pytest.mark.parametrize("copies", [False, True])
def test_a_class_that_is_not_in_every_fold_is_refused(copies: bool) -> None:
    labels = np.array([0] * 20 + [1] * 4)
    groups = np.array([*range(20), 20, 21, 22, 22]) if copies else None
    folds = 4 if copies else 5
    with pytest.raises(
        FashionError, match=rf"data.folds: got {folds}, but the 4 training images of boot fill only"
    ) as caught:
        fold_split(labels, ["shoe", "boot"], folds, 0, groups)
    assert ("copies of one image count once" in str(caught.value)) is copies
    fold_split(labels, ["shoe", "boot"], folds - 1, 0, groups)
