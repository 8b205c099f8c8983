import os
import signal

import pytest

from fashion.errors import FashionError
from fashion.training.callbacks import BestCheckpoint, Guard, guarded


@pytest.mark.parametrize(
    ("monitor", "values", "saved"),
    [
        ("val_loss", [3.0, 2.0, 2.5, 2.0, 1.0], [3.0, 2.0, 1.0]),
        ("val_accuracy", [0.5, 0.7, 0.6, 0.7, 0.8], [0.5, 0.7, 0.8]),
    ],
)
def test_only_better_epochs_replace_the_checkpoint(monkeypatch, tmp_path, monitor, values, saved):
    written: list[float] = []
    callback = BestCheckpoint(str(tmp_path / "best.keras"), monitor)
    monkeypatch.setattr("fashion.artifact.save_model", lambda model, path: written.append(model))
    for epoch, value in enumerate(values):
        callback.set_model(type("Network", (), {"deployable": lambda self, value=value: value})())
        callback.on_epoch_end(epoch, {monitor: value})
    assert written == saved


def test_the_first_signal_in_training_waits_for_the_end_of_the_step(caplog):
    caplog.set_level("INFO")
    with guarded() as guard:
        guard.on_train_begin()
        os.kill(os.getpid(), signal.SIGTERM)
        assert "SIGTERM: stopping after this step" in caplog.text
        with pytest.raises(KeyboardInterrupt):
            guard.on_train_batch_end(0, {"loss": 1.0})


def test_a_signal_in_validation_stops_it_too():
    with guarded() as guard:
        guard.on_train_begin()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            guard.on_test_batch_end(0)


def test_a_second_signal_stops_at_once():
    with guarded() as guard:
        guard.on_train_begin()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_of_training_a_signal_stops_at_once():
    with guarded() as guard:
        guard.on_train_end()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_handlers_of_before_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with guarded():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error_with_advice(loss):
    guard = Guard()
    optimizer = type("Optimizer", (), {"learning_rate": 0.5})()
    guard.set_model(type("Network", (), {"optimizer": optimizer})())
    guard.on_epoch_begin(2)
    guard.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(FashionError, match=r"loss became \w+ in epoch 3 at step 8 with optimizer.learning_rate=0.5"):
        guard.on_train_batch_end(7, {"loss": loss})
