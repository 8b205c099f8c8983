"""Fashion-MNIST written as PNG files in folders trains the weights that ``data=fashion_mnist`` does."""

import dataclasses

import keras
import numpy as np
import pytest
from image_folders import load_folder
from PIL import Image

from fashion.data.batches import TrainingBatches, as_pipeline
from fashion.data.fashion_mnist import fashion_mnist, idx_files
from fashion.data.fashion_mnist.idx_files import load_idx_files

TRAIN, TEST, LIMIT = 300, 60, 150


@pytest.fixture
def written(fashion_mnist_root, tmp_path, monkeypatch):
    """The first images of the real files, as the IDX loader returns them and as PNG files."""
    files = load_idx_files(fashion_mnist_root, download=False)
    files = dataclasses.replace(
        files,
        train_images=files.train_images[:TRAIN],
        train_labels=files.train_labels[:TRAIN],
        test_images=files.test_images[:TEST],
        test_labels=files.test_labels[:TEST],
    )
    monkeypatch.setattr(idx_files, "load_idx_files", lambda root, download: files)
    for split, images, labels in (
        ("train", files.train_images, files.train_labels),
        ("test", files.test_images, files.test_labels),
    ):
        for number in range(10):
            (tmp_path / "png" / split / str(number)).mkdir(parents=True)
        for position, (image, label) in enumerate(zip(images, labels, strict=True)):
            Image.fromarray(image).save(tmp_path / "png" / split / str(label) / f"{position:05d}.png")
    return tmp_path / "png"


def trained_weights(data) -> list[np.ndarray]:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input(data.image_shape), *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    batches = TrainingBatches(data.train.images, data.train.labels, batch_size=32, seed=5)
    model.fit(as_pipeline(batches), epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.backend
@pytest.mark.parametrize("limit", [None, LIMIT])
def test_equal_arrays_and_equal_weights(written, limit):
    options = {"limit": limit, "validation_fraction": 0.2}
    expected = fashion_mnist(root="", download=False, **options, seed=3)
    found = load_folder(written, seed=3, color_mode="grayscale", **options)
    assert found.classes == tuple("0123456789")
    for split in ("train", "validation", "test"):
        theirs, ours = getattr(expected, split), getattr(found, split)
        assert np.array_equal(theirs.images, ours.images)
        assert np.array_equal(theirs.labels, ours.labels)
        assert theirs.sources.tolist() == [int(source.split("/")[2].removesuffix(".png")) for source in ours.sources]
    assert all(map(np.array_equal, trained_weights(expected), trained_weights(found)))
