"""The splits of image files: stratified, copies together, and where nothing is copied those of Fashion-MNIST."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_folders import load_folder, write_classes

from fashion.data import split
from fashion.data.image_splits import SplitPositions, split_images
from fashion.data.split import grouped_split, seeded_generator, stratified_sample, stratified_split
from fashion.errors import InputError

CLASSES = ("a", "b", "c")
OPTIONS: dict[str, Any] = {"limit": None, "validation_fraction": 0.2, "test_fraction": 0.1, "folds": None, "fold": None}


def divided(labels, contents=None, given: Sequence | None = None, seed=0, **options) -> SplitPositions:
    contents = np.arange(len(labels)) if contents is None else contents
    return split_images(labels, CLASSES, contents, given or [None] * len(labels), **{**OPTIONS, **options}, seed=seed)


def random_labels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 3, count)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9))
def test_without_copies_the_positions_are_those_of_the_stratified_split(seed, fraction):
    labels = random_labels(200)
    expected = stratified_split(labels, CLASSES, fraction, seeded_generator(seed))
    found = grouped_split(labels, CLASSES, np.arange(200), fraction, seeded_generator(seed))
    assert all(map(np.array_equal, found, expected))


@given(st.integers(0, 1000), st.integers(20, 60), st.floats(0.1, 0.5))
def test_copies_stay_together(seed, contents_count, fraction):
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.repeat(range(3), 5), random.integers(0, 3, 85)])
    contents = np.concatenate([np.arange(15), random.integers(0, contents_count, 85) + 15])
    parts = divided(labels, contents, validation_fraction=fraction, test_fraction=fraction)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(100))
    assert sum(len(set(contents[part])) for part in parts) == len(set(contents))
    for part in parts:
        assert set(labels[part]) == {0, 1, 2}
        assert np.array_equal(part, np.sort(part))


def test_every_class_is_in_every_split_if_it_has_three_images():
    labels = np.concatenate([np.zeros(300, int), [1, 1, 1], [2] * 4])
    for part in divided(labels):
        assert set(labels[part]) == {0, 1, 2}
    with pytest.raises(InputError, match="too few images of b to divide them: each class needs 3 or more"):
        divided(labels[:302])


def test_the_test_images_do_not_depend_on_the_seed():
    labels = random_labels(300)
    first, second = divided(labels, seed=1), divided(labels, seed=2)
    assert np.array_equal(first.test, second.test)
    assert not np.array_equal(first.validation, second.validation)


@pytest.mark.parametrize("names", [("train", "test"), ("train", "validation"), ("train", "validation", "test")])
def test_given_splits_are_kept_and_the_others_are_drawn_from_train(names):
    labels = random_labels(300)
    given = [names[number % len(names)] for number in range(300)]
    parts = divided(labels, given=given)._asdict()
    assert sum(map(len, parts.values())) == 300
    for name, positions in parts.items():
        assert {given[position] for position in positions} == {name if name in names else "train"}


def test_a_limit_reduces_train_and_the_given_splits_in_proportion(monkeypatch):
    monkeypatch.setattr(split, "MIN_TEST_IMAGES", 10)
    labels = random_labels(300)
    parts = divided(labels, given=["train", "validation", "test"] * 100, limit=50)
    assert list(map(len, parts)) == [50, 50, 50]
    parts = divided(labels, given=["train", "train", "test"] * 100, limit=50)
    assert list(map(len, parts)) == [40, 10, 25]
    with pytest.raises(InputError, match=r"data\.limit is 201, but there are 200 training images"):
        divided(labels, given=["train", "train", "test"] * 100, limit=201)


def test_folds_divide_the_train_images_and_keep_copies_together():
    labels, contents = random_labels(300), np.arange(300) // 2
    labels = labels[contents * 2]
    parts = [divided(labels, contents, folds=3, fold=fold, seed=fold) for fold in range(3)]
    assert len({part.test.tobytes() for part in parts}) == 1
    together = np.concatenate([part.validation for part in parts])
    assert np.array_equal(np.sort(np.concatenate([together, parts[0].test])), np.arange(300))
    for part in parts:
        assert not set(contents[part.train]) & set(contents[part.validation])
    given = divided(labels, contents, given=["train"] * 200 + ["validation"] * 50 + ["test"] * 50, folds=3, fold=0)
    assert max(given.validation) < 200


def test_like_fashion_mnist_the_subset_is_chosen_before_the_validation_images():
    labels = random_labels(300)
    parts = divided(labels, given=["train"] * 200 + ["test"] * 100, limit=60, seed=9)
    random = seeded_generator(9)
    chosen = stratified_sample(labels[:200], 60, random)
    train, validation = stratified_split(labels[chosen], CLASSES, 0.2, random)
    assert np.array_equal(parts.train, chosen[train])
    assert np.array_equal(parts.validation, chosen[validation])


def test_copies_in_given_splits_and_with_two_labels_are_counted(tmp_path, caplog):
    root = tmp_path / "pets"
    write_classes(root / "train", {"cat": 6, "dog": 6})
    write_classes(root / "validation", {"cat": 3, "dog": 3}, 50)
    write_classes(root / "test", {"cat": 3, "dog": 3}, 100)
    for name in ("1", "2"):
        (root / "test" / "cat" / f"copy{name}.png").write_bytes((root / "train" / "cat" / f"{name}.png").read_bytes())
    (root / "validation" / "dog" / "copy.png").write_bytes((root / "train" / "cat" / "1.png").read_bytes())
    (root / "test" / "dog" / "copy.png").write_bytes((root / "validation" / "dog" / "1.png").read_bytes())
    load_folder(root)
    assert (
        "test images that are copies of validation images, by which epoch and thresholds are chosen: 2; the test "
        "metrics will be too optimistic; the first: test/dog/copy.png"
    ) in caplog.text
    assert (
        "2 test images and 1 validation images are copies of training images, so the metrics will be too optimistic; "
        "the first: test/cat/copy1.png"
    ) in caplog.text
    assert "3 images have copies with different labels; the first: train/cat/1.png (cat)" in caplog.text


def test_copies_in_class_folders_are_no_reason_for_a_warning(tmp_path, caplog):
    root = write_classes(tmp_path / "pets", {"cat": 20, "dog": 20})
    for number in range(10):
        (root / "cat" / f"copy{number}.png").write_bytes((root / "cat" / f"{number}.png").read_bytes())
    load_folder(root)
    assert "content of training images" not in caplog.text
