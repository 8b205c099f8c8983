import pytest

from fashion.errors import FashionError
from fashion.training.callbacks import BestCheckpoint, RaiseOnDivergence


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


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error_with_advice(loss):
    callback = RaiseOnDivergence()
    optimizer = type("Optimizer", (), {"learning_rate": 0.5})()
    callback.set_model(type("Network", (), {"optimizer": optimizer})())
    callback.on_epoch_begin(2)
    callback.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(FashionError, match=r"loss became \w+ in epoch 3 at step 8 with optimizer.learning_rate=0.5"):
        callback.on_train_batch_end(7, {"loss": loss})
