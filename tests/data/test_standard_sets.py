"""``data=mnist``, ``kmnist`` and ``cifar10`` on small files of the published formats."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from published import (
    PER_CLASS,
    TEST_PER_CLASS,
    idx_gz_bytes,
    images_and_labels,
    known,
    npz_bytes,
    python2_pickle,
    tar_gz_bytes,
)
from small_files import Machine, Server, put, stored

from fashion.data import cifar10, kmnist, mnist
from fashion.data.array_dataset import pixel_statistics
from fashion.data.dataset import Dataset
from fashion.errors import FashionError


@dataclass
class StandardSet:
    """One of the data sets, with small files in place of the published ones."""

    load: Callable[..., Dataset]
    files: dict[str, bytes]
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    shape: tuple[int, int, int]
    keras: bool  # whether Keras's cache has it

    def __call__(self, root: Path, download: bool = False, seed: int = 0, **keys: object) -> Dataset:
        keys = {"limit": None, "validation_fraction": 0.25, **keys}
        return self.load(str(root), download, seed=seed, **keys)


def make_mnist(monkeypatch: pytest.MonkeyPatch) -> StandardSet:
    train, test = images_and_labels(PER_CLASS, (28, 28), 0), images_and_labels(TEST_PER_CLASS, (28, 28), 1)
    content = npz_bytes(x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    monkeypatch.setattr(mnist, "NPZ", known(mnist.NPZ, content))
    return StandardSet(mnist.mnist, {"mnist.npz": content}, train, test, (28, 28, 1), keras=True)


def make_kmnist(monkeypatch: pytest.MonkeyPatch) -> StandardSet:
    train, test = images_and_labels(PER_CLASS, (28, 28), 2), images_and_labels(TEST_PER_CLASS, (28, 28), 3)
    contents = [idx_gz_bytes(array) for array in (*train, *test)]
    files = tuple(known(file, content) for file, content in zip(kmnist.FILES, contents, strict=True))
    monkeypatch.setattr(kmnist, "FILES", files)
    named = {file.name: content for file, content in zip(files, contents, strict=True)}
    return StandardSet(kmnist.kmnist, named, train, test, (28, 28, 1), keras=False)


def make_batches(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, bytes], list[np.ndarray]]:
    train, test = images_and_labels(PER_CLASS, (3, 32, 32), 4), images_and_labels(TEST_PER_CLASS, (3, 32, 32), 5)
    parts = [*zip(np.split(train[0], 5), np.split(train[1], 5), strict=True), test]
    contents = [python2_pickle(images.reshape(len(images), -1), labels) for images, labels in parts]
    files = tuple(known(file, content) for file, content in zip(cifar10.BATCHES, contents, strict=True))
    monkeypatch.setattr(cifar10, "BATCHES", files)
    return {file.name: content for file, content in zip(files, contents, strict=True)}, [*train, *test]


def make_cifar10(monkeypatch: pytest.MonkeyPatch) -> StandardSet:
    batches, (images, labels, test_images, test_labels) = make_batches(monkeypatch)
    packed = tar_gz_bytes(batches)
    monkeypatch.setattr(cifar10, "ARCHIVE", known(cifar10.ARCHIVE, packed))
    train, test = ((planes.transpose(0, 2, 3, 1), of) for planes, of in ((images, labels), (test_images, test_labels)))
    return StandardSet(cifar10.cifar10, {cifar10.ARCHIVE.name: packed}, train, test, (32, 32, 3), keras=True)


MAKERS = {"mnist": make_mnist, "kmnist": make_kmnist, "cifar10": make_cifar10}


@pytest.fixture(params=MAKERS)
def standard_set(request: pytest.FixtureRequest, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> StandardSet:
    return MAKERS[request.param](monkeypatch)


def assert_right(data: Dataset, expected: StandardSet) -> None:
    assert data.image_shape == expected.shape
    assert data.input.preprocessing == "resize"
    images, labels = expected.train
    images = images.reshape(len(images), *expected.shape)
    for split in (data.train, data.validation):
        assert np.array_equal(split.images, images[split.sources])
        assert np.array_equal(split.labels, labels[split.sources])
        assert split.labels.dtype == np.int64
    assert np.bincount(data.validation.labels).tolist() == [PER_CLASS // 4] * 10
    assert sorted([*data.train.sources, *data.validation.sources]) == list(range(10 * PER_CLASS))
    assert np.array_equal(data.test.images.reshape(expected.test[0].shape), expected.test[0])
    assert np.array_equal(data.test.labels, expected.test[1])
    scaled = images / 255
    assert data.pixels.mean == pytest.approx(scaled.mean(axis=(0, 1, 2)), abs=5.1e-5)
    assert data.pixels.deviation == pytest.approx(scaled.std(axis=(0, 1, 2)), abs=5.1e-5)


def test_a_local_copy_is_read_and_nothing_is_written(standard_set: StandardSet, machine: Machine) -> None:
    put(machine.root, standard_set.files)
    assert_right(standard_set(machine.root), standard_set)
    assert stored(machine.root) == standard_set.files


def test_the_same_digests_wherever_the_files_come_from(standard_set: StandardSet, machine: Machine) -> None:
    put(machine.root, standard_set.files)
    digests = standard_set(machine.root).digests
    assert all(len(digest) == 64 for digest in digests.values())
    if standard_set.load is not cifar10.cifar10:
        assert digests == {name: hashlib.sha256(content).hexdigest() for name, content in standard_set.files.items()}


@pytest.mark.parametrize("standard_set", ["mnist", "cifar10"], indirect=True)
def test_what_keras_has_downloaded_is_read(standard_set: StandardSet, machine: Machine) -> None:
    put(machine.keras_home / "datasets", standard_set.files)
    assert_right(standard_set(machine.root), standard_set)
    assert not machine.root.exists()


@pytest.mark.parametrize("place", ["root", "keras 3", "keras 2"])
def test_the_unpacked_batches_are_read(machine: Machine, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    expected = make_cifar10(monkeypatch)
    put(machine.root, expected.files)
    from_archive = expected(machine.root)
    (machine.root / cifar10.ARCHIVE.name).unlink()
    batches, _ = make_batches(monkeypatch)
    keras = machine.keras_home / "datasets"
    folder = {"root": machine.root, "keras 3": keras / "cifar-10-batches-py-target", "keras 2": keras}[place]
    put(folder / "cifar-10-batches-py", batches)
    assert_right(expected(machine.root), expected)
    assert expected(machine.root).digests == from_archive.digests


def test_a_download_fills_root_once(
    standard_set: StandardSet, machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = standard_set.files
    serve(standard_set, server.url, monkeypatch)
    assert_right(standard_set(machine.root, download=True), standard_set)
    assert_right(standard_set(machine.root, download=True), standard_set)
    assert stored(machine.root) == standard_set.files
    assert server.asked == list(standard_set.files)


def serve(expected: StandardSet, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files be published at another address."""
    module, name = {
        mnist.mnist: (mnist, "NPZ"),
        kmnist.kmnist: (kmnist, "FILES"),
        cifar10.cifar10: (cifar10, "ARCHIVE"),
    }[expected.load]
    files = getattr(module, name)
    moved = [
        known(file, expected.files[file.name], url=url + file.name) for file in np.atleast_1d(np.array(files, object))
    ]
    monkeypatch.setattr(module, name, tuple(moved) if isinstance(files, tuple) else moved[0])


@pytest.mark.parametrize("answer", ["nothing", "other bytes", "too many bytes"])
def test_a_wrong_download_is_refused(
    standard_set: StandardSet, machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    serve(standard_set, server.url, monkeypatch)
    changed = {name: content[:-1] + b"?" for name, content in standard_set.files.items()}
    longer = {name: content + b"?" for name, content in standard_set.files.items()}
    server.files = {"nothing": {}, "other bytes": changed, "too many bytes": longer}[answer]
    reason = {"nothing": "Not Found", "other bytes": "its SHA-256 is", "too many bytes": "is longer than"}[answer]
    with pytest.raises(FashionError, match=reason) as caught:
        standard_set(machine.root, download=True)
    assert "\n" not in str(caught.value)
    assert stored(machine.root) == {}


def test_without_the_network_one_line_says_what_to_do(standard_set: StandardSet, machine: Machine) -> None:
    name = next(iter(standard_set.files))
    with pytest.raises(FashionError, match=rf"found no {name}.* set data\.download=true$"):
        standard_set(machine.root)
    assert not machine.root.exists()


def test_a_damaged_file_in_root_is_named(standard_set: StandardSet, machine: Machine) -> None:
    name = list(standard_set.files)[-1]
    put(machine.root, {**standard_set.files, name: standard_set.files[name][:-1]})
    with pytest.raises(FashionError) as caught:
        standard_set(machine.root)
    assert str(caught.value).startswith(f"{machine.root / name}: is damaged, or another file: its SHA-256 is ")
    assert str(caught.value).endswith("; remove it, or set data.root to another folder")


def test_a_damaged_copy_of_keras_is_passed_over(
    standard_set: StandardSet, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    put(machine.keras_home / "datasets", dict.fromkeys(standard_set.files, b"text"))
    with pytest.raises(FashionError, match="found no "):
        standard_set(machine.root)
    assert ("is damaged, or another file" in caplog.text) is standard_set.keras


def test_a_damaged_batch_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make_cifar10(monkeypatch)
    batches, _ = make_batches(monkeypatch)
    put(machine.root / "cifar-10-batches-py", {**batches, "data_batch_3": b"text"})
    with pytest.raises(FashionError, match=r"data_batch_3: is damaged, or another file: its MD5 is"):
        expected(machine.root)


def test_a_batch_cannot_run_code(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> object:
            return (Path.touch, (tmp_path / "ran",))

    expected = make_cifar10(monkeypatch)
    batches, _ = make_batches(monkeypatch)
    content = pickle.dumps({b"data": Attack(), b"labels": []})
    files = tuple(known(file, content) if file.name == "test_batch" else file for file in cifar10.BATCHES)
    monkeypatch.setattr(cifar10, "BATCHES", files)
    put(machine.root / "cifar-10-batches-py", {**batches, "test_batch": content})
    with pytest.raises(FashionError, match=r"test_batch: refers to .*, expected arrays and numbers only"):
        expected(machine.root)
    assert not (tmp_path / "ran").exists()


def test_limit_and_folds_apply(standard_set: StandardSet, machine: Machine) -> None:
    put(machine.root, standard_set.files)
    limited = standard_set(machine.root, limit=80)
    assert (len(limited.train), len(limited.validation)) == (60, 20)
    folds = [standard_set(machine.root, folds=3, fold=fold, seed=fold).validation.sources for fold in range(3)]
    assert sorted(np.concatenate(folds).tolist()) == list(range(10 * PER_CLASS))


def test_the_statistics_of_a_channel_are_its_own() -> None:
    images = np.zeros((5, 4, 6, 3), np.uint8)
    images[..., 1] = 51
    images[:, :2, :, 2] = 255
    mean, deviation = pixel_statistics(images)
    assert mean == (0.0, 0.2, 0.5)
    assert deviation == (0.0, 0.0, 0.5)
