"""Which images are the hardest, and that an epoch reads them."""

import keras
import numpy as np
import pytest

from fashion.data.batches import TrainingBatches, as_pipeline
from fashion.runs import resume_state
from fashion.training.callbacks import EpochRecorder
from fashion.training.hardest_images import HardestImages, hardest, update
from fashion.training.network import TrainingNetwork

pytestmark = pytest.mark.backend


def test_the_hardest_are_those_with_the_highest_averages_and_those_never_read():
    averages = np.array([0.5, np.inf, 0.1, 2.0, 0.5], np.float32)
    assert hardest(averages, 2).tolist() == [1, 3]
    assert hardest(averages, 3).tolist() == [0, 1, 3]


def test_half_of_an_average_is_the_last_loss():
    averages = np.array([0.5, np.inf, 0.1, 2.0], np.float32)
    update(averages, np.array([3, 1, 0]), np.array([1.0, 0.7, 0.1], np.float32))
    assert averages.tolist() == pytest.approx([0.3, 0.7, 0.1, 1.5])


def network(kept_losses: int) -> TrainingNetwork:
    """A linear classifier of 4 x 4 pixels into three classes, with a learning rate of 0."""
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(inputs)))
    built = TrainingNetwork(model, keras.layers.Identity(), fast=False, kept_losses=kept_losses)
    jit = keras.backend.backend() == "jax"
    built.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=jit)
    built.build((None, 4, 4, 1))
    return built


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        (3, "in epochs 3 to 3, training on the 20 images with the highest losses"),
        (9, "in epochs 3 to 6, training on the 20 images with the highest losses"),
        (2, "trainer.hardest_share has no effect: the last epoch, 2, is before trainer.hardest_from_epoch=3"),
    ],
)
def test_the_log_says_which_epochs_read_fewer_images(caplog, epochs, said):
    images = np.zeros((50, 4, 4, 1), np.uint8)
    callback = HardestImages(TrainingBatches(images, np.zeros(50, np.int64), batch_size=8, seed=0), 0.4, 3, 6)
    callback.set_params({"epochs": epochs})
    with caplog.at_level("INFO"):
        callback.on_train_begin()
    assert caplog.messages == [said]


class Read(keras.callbacks.Callback):
    """Remember which images each epoch read, and the losses that the network kept of them."""

    def __init__(self, batches: TrainingBatches) -> None:
        super().__init__()
        self.batches = batches
        self.rows: list[np.ndarray] = []
        self.losses: list[np.ndarray] = []

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(self.batches.order())
        self.losses.append(keras.ops.convert_to_numpy(self.model.image_losses))


def test_epochs_read_the_images_whose_losses_were_highest():
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (50, 4, 4, 1), dtype=np.uint8), random.integers(0, 3, 50)
    batches = TrainingBatches(images, labels, batch_size=8, seed=0)
    model = network(kept_losses=48)
    probabilities = keras.ops.convert_to_numpy(model.core(images.astype(np.float32) / 255))
    losses = -np.log(probabilities[np.arange(50), labels])
    read = Read(batches)
    callbacks = [HardestImages(batches, 0.4, 3, 4), read, EpochRecorder(None, {}, batches, [], None)]
    validation = (images[:8], labels[:8])
    model.fit(as_pipeline(batches), epochs=5, callbacks=callbacks, shuffle=False, verbose=0, validation_data=validation)
    for rows, kept in zip(read.rows, read.losses, strict=True):
        assert kept == pytest.approx(losses[rows], rel=1e-5)
    assert [len(set(rows)) for rows in read.rows] == [48, 48, 20, 20, 48]
    assert set(range(50)) == set(read.rows[0]) | set(read.rows[1]), "seeds leave no image unread"
    assert set(read.rows[2]) == set(np.argsort(-losses)[:20])
    assert np.bincount(read.rows[2]).max() == 3


def test_more_epochs_of_a_resumed_run_read_the_hardest_too():
    batches = TrainingBatches(np.zeros((50, 4, 4, 1), np.uint8), np.zeros(50, np.int64), batch_size=8, seed=0)
    model = network(kept_losses=48)
    first, resumed = HardestImages(batches, 0.4, 2, None), HardestImages(batches, 0.4, 2, None)
    first.set_params({"epochs": 3})
    state = resume_state.capture(model, [first], epochs=2, history={}, config={}, seconds=0.0)
    resumed.set_params({"epochs": 5})
    resume_state.restore(state, model, [resumed])
    resumed.on_epoch_begin(4)
    assert len(set(batches.order())) == 20
