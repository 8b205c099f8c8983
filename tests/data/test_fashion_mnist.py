"""``data=fashion_mnist``: subsets and splits on numbered images, and the whole on the real files."""

import hashlib
import inspect
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError, validate_call

from fashion.data.dataset import Dataset
from fashion.data.fashion_mnist import CLASSES, PIXELS, fashion_mnist, idx_files
from fashion.errors import FashionError

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def numbered_files() -> idx_files.IdxArrays:
    """Files of the real sizes and class counts, every image of which carries its own position."""

    def images(count: int) -> np.ndarray:
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, :4] = np.arange(count, dtype=np.int32).view(np.uint8).reshape(count, 4)
        return images

    return idx_files.IdxArrays(
        train_images=images(60_000),
        train_labels=np.repeat(np.arange(10), 6_000),
        test_images=images(10_000),
        test_labels=np.tile(np.arange(10), 1_000),
        digests={"train-images-idx3-ubyte": "c59f"},
    )


@pytest.fixture
def load(numbered_files: idx_files.IdxArrays, monkeypatch: pytest.MonkeyPatch):
    """The function under test on the numbered files."""
    monkeypatch.setattr(idx_files, "load_idx_files", lambda root, download: numbered_files)

    def load(limit: int | None = None, validation_fraction: float = 0.1, seed: int = 0) -> Dataset:
        return fashion_mnist("data", False, limit, validation_fraction, seed=seed)

    return load


def images_of(dataset: Dataset, split: str) -> np.ndarray:
    return getattr(dataset, split).images


def labels_of(dataset: Dataset, split: str) -> np.ndarray:
    return getattr(dataset, split).labels


def positions(dataset: Dataset, split: str) -> np.ndarray:
    return np.ascontiguousarray(images_of(dataset, split)[:, 0, :4, 0]).view(np.int32).ravel()


def test_all_images_split_90_to_10_in_every_class(load) -> None:
    dataset = load()
    for split, per_class in (("train", 5_400), ("validation", 600), ("test", 1_000)):
        assert images_of(dataset, split).shape == (10 * per_class, 28, 28, 1)
        assert images_of(dataset, split).dtype == np.uint8
        assert labels_of(dataset, split).dtype == np.int64
        assert np.bincount(labels_of(dataset, split)).tolist() == [per_class] * 10
    assert sorted([*positions(dataset, "train"), *positions(dataset, "validation")]) == list(range(60_000))
    assert positions(dataset, "test").tolist() == list(range(10_000))
    assert dataset.digests == {"train-images-idx3-ubyte": "c59f"}


@pytest.mark.parametrize("limit", [None, 5_000])
def test_labels_stay_with_their_images(load, numbered_files: idx_files.IdxArrays, limit: int | None) -> None:
    dataset = load(limit)
    for split, labels in (
        ("train", numbered_files.train_labels),
        ("validation", numbered_files.train_labels),
        ("test", numbered_files.test_labels),
    ):
        assert np.array_equal(labels_of(dataset, split), labels[positions(dataset, split)])


def test_seed_0_is_a_seed(load) -> None:
    validation = {seed: positions(load(seed=seed), "validation").tolist() for seed in (0, 1)}
    assert validation[0] == positions(load(seed=0), "validation").tolist()
    # Chance alone shares one image in ten.
    assert len(set(validation[0]) & set(validation[1])) < 1_000


@pytest.mark.parametrize(
    ("limit", "train", "validation", "test"),
    [
        (60_000, 54_000, 6_000, 10_000),
        (30_000, 27_000, 3_000, 5_000),
        (12_000, 10_800, 1_200, 2_000),
        (6_000, 5_400, 600, 1_000),
        (1_000, 900, 100, 1_000),
        (100, 90, 10, 1_000),
    ],
)
def test_a_limit_takes_a_stratified_subset(load, limit: int, train: int, validation: int, test: int) -> None:
    dataset = load(limit)
    for split, size in (("train", train), ("validation", validation), ("test", test)):
        assert len(images_of(dataset, split)) == len(labels_of(dataset, split)) == size
        assert np.bincount(labels_of(dataset, split)).tolist() == [size // 10] * 10
    assert not set(positions(dataset, "train")) & set(positions(dataset, "validation"))


def test_a_limit_with_a_remainder_is_kept_to_the_image(load) -> None:
    dataset = load(1_234)
    assert len(dataset.train.labels) + len(dataset.validation.labels) == 1_234
    counts = np.bincount(np.concatenate([dataset.train.labels, dataset.validation.labels]))
    assert set(counts) == {123, 124}


def test_limited_runs_of_all_seeds_are_judged_on_the_same_test_images(load) -> None:
    first, second = load(1_000, seed=0), load(1_000, seed=1)
    assert np.array_equal(positions(first, "test"), positions(second, "test"))
    assert not np.array_equal(positions(first, "train"), positions(second, "train"))


@pytest.mark.parametrize(
    ("limit", "fraction", "message"),
    [
        (60_001, 0.1, "data.limit is 60001, but there are 60000 training images; use at most that or null"),
        (1, 0.1, "validation has no image of T-shirt/top, Trouser"),
        (9, 0.5, "expected every class in both, so set data.limit to 20 or more"),
        (19, 0.5, "set data.limit to 20 or more"),
        (60, 0.1, "validation has no image of Shirt, Sneaker, Bag, Ankle boot; expected every class in both, so set "
         "data.limit to 100 or more, or data.validation_fraction nearer to 0.5"),
        (60, 0.95, "train has no image of"),
        (None, 1e-5, "60000 training images with data.validation_fraction=1e-05 are too few"),
    ],
)  # fmt: skip
def test_impossible_subsets_are_refused(load, limit: int | None, fraction: float, message: str) -> None:
    with pytest.raises(FashionError) as caught:
        load(limit, fraction)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 0), ("limit", -5), ("limit", 2.5), ("validation_fraction", 0), ("validation_fraction", 1)],
)
def test_the_signature_says_what_is_allowed(load, name: str, value: object) -> None:
    arguments = {"root": "data", "download": False, "limit": 1_000, "validation_fraction": 0.1, "seed": 0}
    checked = validate_call(fashion_mnist)
    assert len(checked(**arguments).train.labels) == 900
    with pytest.raises(ValidationError, match=name):
        checked(**{**arguments, name: value})


def test_the_keys_of_the_configuration_are_the_parameters() -> None:
    parameters = inspect.signature(fashion_mnist).parameters
    assert list(parameters) == ["root", "download", "limit", "validation_fraction", "folds", "fold", "seed"]
    assert parameters["seed"].kind is inspect.Parameter.KEYWORD_ONLY


def test_tilde_is_the_home_folder(
    numbered_files: idx_files.IdxArrays, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[Path, bool]] = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(idx_files, "load_idx_files", lambda *call: asked.append(call) or numbered_files)
    fashion_mnist("~/data", True, 100, 0.1, seed=0)
    assert asked == [(tmp_path / "data", True)]


def test_the_real_data_set(fashion_mnist_root: Path) -> None:
    dataset = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    assert [np.bincount(labels_of(dataset, split)).tolist() for split in SPLITS] == [
        [5_400] * 10,
        [600] * 10,
        [1_000] * 10,
    ]
    assert dataset.digests == {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }
    assert dataset.pixels == PIXELS
    digest = hashlib.sha256(dataset.validation.images.tobytes()).hexdigest()
    assert digest == "fc61d5d1a1934cf0caadd7eb5d310558ffd5ea7025d7d848508610f5547b34d5"


def test_classes_are_the_ten_of_the_baseline_in_order() -> None:
    assert CLASSES == (
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
