"""The last layer fitted to features, which are computed once for each image."""

import os
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fashion.data.cache_space import FEATURE_DIGESTS, FEATURES
from fashion.data.image_rows import ImageRows
from fashion.errors import InputError
from fashion.inference.predictor import Predictor
from fashion.training.frozen_features import Cache, FrozenFeatures
from fashion.training.linear_probe import WITHOUT_CHOICE, fit, fit_linear_probe
from fashion.training.network import TrainingNetwork

CLASSES, WIDTH = 3, 12


def features(count: int = 60, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Features of classes that overlap, of different scales, one of them constant."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    centres = random.normal(size=(classes, WIDTH))
    rows = centres[labels] + random.normal(size=(count, WIDTH))
    rows = 10 ** np.linspace(-2, 2, WIDTH) * rows + 5
    rows[..., 3] = 7
    return rows.astype(np.float32), labels


def probabilities(rows: np.ndarray, probe) -> np.ndarray:
    logits = rows @ probe.kernel + probe.bias
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_layer_is_the_logistic_regression_on_standardised_features(classes, balanced):
    rows, labels = features(classes=classes)
    labels[:9] = 0
    probe = fit(rows, labels, seed=0, balanced=balanced)
    standardised = (rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1)
    reference = LogisticRegression(C=probe.strength, class_weight="balanced" if balanced else None, tol=1e-8)
    expected = reference.fit(standardised, labels).predict_proba(standardised)
    assert probabilities(rows, probe) == pytest.approx(expected, abs=5e-3)
    assert probe.kernel.dtype == probe.bias.dtype == np.float32
    assert probe.loss is not None
    assert 0 < probe.loss < np.log(classes)


def test_the_penalty_follows_the_noise():
    rows, labels = features(300)
    clear = fit(rows, labels, seed=0, balanced=False)
    noise = fit(rows, np.random.default_rng(1).permutation(labels), seed=0, balanced=False)
    assert clear.strength > noise.strength


def test_a_class_with_a_single_image_leaves_no_choice():
    rows, labels = features(30)
    labels[labels == 2] = 1
    labels[0] = 2
    probe = fit(rows, labels, seed=0, balanced=False)
    assert (probe.strength, probe.loss) == (WITHOUT_CHOICE, None)
    assert probe.kernel.shape == (WIDTH, CLASSES)


@pytest.fixture(scope="module")
def trunk() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(WIDTH, 3, activation="relu")(image)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name="features")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), np.uint8)


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """How many images are computed in each batch."""
    counts: list[int] = []
    compute = FrozenFeatures._compute

    def count(self, batch):
        counts.append(len(batch))
        return compute(self, batch)

    monkeypatch.setattr(FrozenFeatures, "_compute", count)
    return counts


def expected(trunk, images) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(trunk(images.astype(np.float32) / 255)))


@pytest.mark.backend
def test_features_are_those_of_the_network_and_computed_once(trunk, images, computed, tmp_path):
    cache = Cache(tmp_path, 10**9)
    first = FrozenFeatures(trunk, "float32", cache)(images[:50])
    assert first == pytest.approx(expected(trunk, images[:50]), abs=1e-5)
    assert sum(computed) == 50
    reordered = ImageRows(images, np.arange(60)[::-1].copy())  # ten new ones among them
    again = FrozenFeatures(trunk, "float32", cache)(reordered)
    assert np.array_equal(again[10:], first[::-1])
    assert sum(computed) == 60
    mirrored = FrozenFeatures(trunk, "float32", cache)(images[:50], mirrored=True)
    assert mirrored == pytest.approx(expected(trunk, images[:50, :, ::-1]), abs=1e-5)
    assert sum(computed) == 110
    assert np.array_equal(FrozenFeatures(trunk, "float32", cache)(images[:50, :, ::-1].copy()), mirrored)
    assert np.array_equal(FrozenFeatures(trunk, "float32", None)(images[:50]), first)
    assert sum(computed) == 160


def test_other_weights_have_features_of_their_own(trunk, images, computed, tmp_path):
    cache = Cache(tmp_path, 10**9)
    before = FrozenFeatures(trunk, "float32", cache)(images)
    changed = keras.models.clone_model(trunk)
    changed.set_weights([2 * weight for weight in trunk.get_weights()])
    after = FrozenFeatures(changed, "float32", cache)(images)
    assert after == pytest.approx(2 * before, abs=1e-5)
    assert sum(computed) == 140


def test_what_a_killed_process_has_written_in_part_is_computed_again(trunk, images, computed, tmp_path):
    cache = Cache(tmp_path, 10**9)
    whole = FrozenFeatures(trunk, "float32", cache)(images)
    (folder,) = tmp_path.iterdir()
    for name, size in ((FEATURES, 4 * WIDTH), (FEATURE_DIGESTS, 32)):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: 40 * size + 7])
    assert np.array_equal(FrozenFeatures(trunk, "float32", cache)(images), whole)
    assert sum(computed) == 100
    assert np.array_equal(FrozenFeatures(trunk, "float32", cache)(images), whole)
    assert sum(computed) == 100


@pytest.mark.parametrize(("name", "again"), [(FEATURES, 20), (FEATURE_DIGESTS, 1)])
def test_what_is_damaged_on_the_disk_is_computed_again(trunk, images, computed, name, again, tmp_path):
    cache = Cache(tmp_path, 10**9)
    whole = FrozenFeatures(trunk, "float32", cache)(images)
    (folder,) = tmp_path.iterdir()
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 70 * 50] ^= 1  # of the image in row 50
    (folder / name).write_bytes(content)
    assert np.array_equal(FrozenFeatures(trunk, "float32", cache)(images), whole)
    assert sum(computed) == 70 + again
    (folder / name).unlink()
    assert np.array_equal(FrozenFeatures(trunk, "float32", cache)(images), whole)
    assert sum(computed) == 140 + again


def test_what_follows_damaged_features_is_not_mistaken_for_later_ones(trunk, images, tmp_path):
    cache = Cache(tmp_path, 10**9)
    whole = FrozenFeatures(trunk, "float32", cache)(images)
    (folder,) = tmp_path.iterdir()
    content = bytearray((folder / FEATURES).read_bytes())
    content[4 * WIDTH * 50] ^= 1
    (folder / FEATURES).write_bytes(content)
    # These fill the rows from 50 on; the rows after them had the same images before.
    assert np.array_equal(FrozenFeatures(trunk, "float32", cache)(images[60:]), whole[60:])
    assert np.array_equal(FrozenFeatures(trunk, "float32", cache)(images), whole)


def test_features_that_are_read_count_as_used(trunk, images, tmp_path):
    """As decoded images do: the least recently used of the cache are removed first."""
    cache = Cache(tmp_path, 10**9)
    FrozenFeatures(trunk, "float32", cache)(images)
    (folder,) = tmp_path.iterdir()
    for path in folder.iterdir():
        os.utime(path, (1_000, 1_000))
    FrozenFeatures(trunk, "float32", cache)(images)
    assert max(path.stat().st_mtime for path in folder.iterdir()) > 1_000


def test_a_cache_that_is_too_small_is_refused(trunk, images, tmp_path):
    with pytest.raises(InputError, match=r"data\.cache_gb: the features need"):
        FrozenFeatures(trunk, "float32", Cache(tmp_path, 1000))(images)


@pytest.mark.backend
@pytest.mark.parametrize("flip_average", [False, True])
def test_abstention_is_fitted_to_what_the_saved_model_computes(images, flip_average):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, activation="relu", name="wide")(image)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="narrow")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(CLASSES, activation="softmax", name="probabilities")(x))
    network = TrainingNetwork(model, keras.layers.Identity(), fast=True, flip_average=flip_average)
    labels = np.arange(len(images)) % CLASSES
    data = SimpleNamespace(train=SimpleNamespace(images=images, labels=labels))
    known = fit_linear_probe(network, data, "float32", seed=0, cache=None)
    computed = Predictor(network.deployable(), features=True).outputs(images).features
    assert [rows.shape[1] for rows in known] == [4, 6 + 4]
    for one, other in zip(known, computed, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
