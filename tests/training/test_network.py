"""Known answers of the loss, and what augmentation and class weights make of it in training and in validation."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from fashion.augment.mixup import Mixup
from fashion.augment.photo import Photo
from fashion.config.build import build
from fashion.errors import InputError
from fashion.training.network import TrainingNetwork, balanced_weights, cross_entropy

pytestmark = pytest.mark.backend


def test_smoothing_gives_every_class_some_probability():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    labels = np.array([0, 1])
    logs = -np.log(probabilities)
    expected = 0.9 * logs[[0, 1], labels] + 0.1 * logs.mean(axis=1)
    assert ops.convert_to_numpy(cross_entropy(0.1)(labels, ops.convert_to_tensor(probabilities))) == pytest.approx(
        expected, rel=1e-5
    )


def test_without_smoothing_the_loss_is_keras_own():
    assert cross_entropy(0.0) == "sparse_categorical_crossentropy"


def test_balanced_weights_make_classes_weigh_the_same():
    weights = balanced_weights(np.repeat([0, 1, 2], [60, 30, 10]), classes=3)
    assert weights == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    assert balanced_weights(np.array([0, 0, 2]), classes=3).tolist() == [0.5, 1, 1]


SMOOTHING, CLASS_WEIGHTS = 0.1, np.array([0.5, 1, 4], np.float32)


@pytest.fixture
def network(keras_backend) -> TrainingNetwork:
    """A linear classifier of 4 x 4 colour pixels into three classes; mixup, class weights and smoothing together.

    Its learning rate is 0, so that what it answers does not change.
    """
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(inputs)))
    augment = Mixup({"_target_": "fashion.augment.none.none"}, 0.5, 0.0, seed=0)
    built = TrainingNetwork(model, augment, fast=False, class_weights=CLASS_WEIGHTS)
    loss = cross_entropy(SMOOTHING)
    built.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy"], jit_compile=keras_backend == "jax")
    built.build((None, 4, 4, 3))
    return built


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8), np.array([0, 0, 0, 0, 1, 1, 2, 2])


def smoothed_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    targets = (1 - SMOOTHING) * np.eye(3)[labels] + SMOOTHING / 3
    return -np.sum(targets * np.log(probabilities), axis=1)


def test_the_loss_of_a_mixed_image_is_that_of_both_its_labels(network, batch):
    """Each with its share and the weight of its class; accuracy asks for the label of the greater part."""
    pixels, labels = batch
    for _ in range(3):
        loss, accuracy = network.train_on_batch(pixels, labels)
        share = float(network.augment.share)
        images = pixels.astype(np.float32) / 255
        probabilities = ops.convert_to_numpy(network.core(share * images + (1 - share) * images[::-1]))
        parts = [(share, labels), (1 - share, labels[::-1])]
        losses = sum(part * CLASS_WEIGHTS[label] * smoothed_loss(probabilities, label) for part, label in parts)
        network.reset_metrics()
        assert 0.5 <= share < 1
        assert loss == pytest.approx(losses.mean(), rel=1e-4)
        assert accuracy == pytest.approx(np.mean(probabilities.argmax(axis=1) == labels))


def test_validation_is_neither_mixed_nor_weighted(network, batch):
    pixels, labels = batch
    loss, accuracy = network.test_on_batch(pixels, labels)
    probabilities = ops.convert_to_numpy(network.core(pixels.astype(np.float32) / 255))
    assert loss == pytest.approx(smoothed_loss(probabilities, labels).mean(), rel=1e-5)
    assert accuracy == pytest.approx(np.mean(probabilities.argmax(axis=1) == labels))


def test_photos_are_simulated_at_their_own_size_only():
    photo = Photo(0.25, 15, 0.08, 0.2, 0.7, 0.6, 0.5, 0.4, 0.6, 0.9, 0.2, seed=0)
    inputs = keras.Input((96, 96, 3))
    network = TrainingNetwork(keras.Model(inputs, keras.layers.Flatten()(inputs)), photo, fast=False)
    with pytest.raises(InputError, match=r"^augment=photo: got images of 96 x 96 x 3, expected 28 x 28 x 1"):
        network.build((None, 96, 96, 3))


@pytest.mark.parametrize("fast", [False, True])
def test_frozen_batch_normalisation_trains_as_it_infers(keras_backend, batch, fast):
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 3))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(6, 1, name="conv")(image))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.DepthwiseConv2D(3)(x))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))
    norm = model.get_layer("norm")
    norm.set_weights([value * (0.5 + 0.1 * row) for row, value in enumerate(np.ones((4, 6), np.float32))])
    network = TrainingNetwork(
        model, build({"_target_": "fashion.augment.none.none"}, seed=0), fast=fast, frozen_batch_norm=True
    )
    network.compile(keras.optimizers.SGD(0.1), cross_entropy(0), jit_compile=keras_backend == "jax")
    network.build((None, 4, 4, 3))
    before, kernel = norm.get_weights(), model.get_layer("conv").get_weights()[0]
    pixels, labels = batch
    expected = network.test_on_batch(pixels, labels)
    assert network.train_on_batch(pixels, labels) == pytest.approx(expected, rel=1e-4)
    assert all(np.array_equal(*pair) for pair in zip(before, norm.get_weights(), strict=True))
    assert not np.array_equal(kernel, model.get_layer("conv").get_weights()[0])


def branched() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(6, 1, name="stem")(image)
    first, second = (keras.layers.Conv2D(6, 1, name=name)(x) for name in ("first", "second"))
    x = keras.layers.Conv2D(6, 1, name="last")(keras.layers.Add(name="sum")([first, second]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="probabilities")(x), name="branched")


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("layer", "frozen"), [("first", {"stem", "first"}), ("sum", {"stem", "first", "second"})])
def test_a_layer_and_all_that_lead_to_it_are_frozen(keras_backend, batch, fast, layer, frozen):
    model = branched()
    augment = build({"_target_": "fashion.augment.none.none"}, seed=0)
    network = TrainingNetwork(model, augment, fast=fast, frozen_through=layer)
    network.compile(keras.optimizers.SGD(0.1), cross_entropy(0), jit_compile=keras_backend == "jax")
    network.build((None, 4, 4, 3))
    kernels = {each.name: each.get_weights()[0] for each in model.layers if each.get_weights()}
    network.train_on_batch(*batch)
    same = {name for name, kernel in kernels.items() if np.array_equal(kernel, model.get_layer(name).get_weights()[0])}
    assert same == frozen


def test_a_layer_that_is_not_there_is_named():
    augment = build({"_target_": "fashion.augment.none.none"}, seed=0)
    message = "trainer.frozen_through: got stam, expected the name of a layer of branched; did you mean stem?"
    with pytest.raises(InputError, match=re.escape(message)):
        TrainingNetwork(branched(), augment, fast=False, frozen_through="stam")
