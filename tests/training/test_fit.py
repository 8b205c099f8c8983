"""Training as ``train(cfg)``, on real images, on the backend of this process."""

import contextlib
import csv
import io
import json
import os
import zipfile

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from fashion import artifact
from fashion.config.build import build
from fashion.config.schema import resolved
from fashion.data.fashion_mnist import fashion_mnist
from fashion.errors import FashionError
from fashion.files import exclusive_lock
from fashion.inference.predictor import Predictor
from fashion.runs import active_run
from fashion.runs.folder import RunFolder
from fashion.training import finalize, fit
from fashion.training.training_settings import prepare_training, start_training

pytestmark = pytest.mark.backend

QUICK = ("model=cnn", "model.widths=[8]", "model.dense_units=[16]", "data.limit=1000", "trainer.batch_size=100")


@pytest.fixture
def quick(starts_processes, compose_train, fashion_mnist_root, keras_backend):
    """Train a small network on a thousand images and return the folder; the run asks git for its commit."""

    def run(folder, *overrides):
        backend_and_data = (f"trainer.backend={keras_backend}", f"data.root={fashion_mnist_root}")
        cfg = compose_train(folder, *QUICK, *backend_and_data, "trainer.epochs=2", *overrides)
        fit.train(prepare_training(cfg))
        return folder

    return run


def weights(folder) -> list[np.ndarray]:
    return artifact.load(folder).model.get_weights()


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_run_leaves_all_its_files(quick, tmp_path, keras_backend):
    folder = quick(tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "completed"
    assert set(result["metrics"]) == {
        f"{split}_{metric}" for split in ("test", "val") for metric in ("accuracy", "macro_accuracy", "loss")
    }
    assert 0.3 < result["metrics"]["test_accuracy"] < 0.9
    run = json.loads((folder / "run.json").read_text())
    assert run["backend"] == keras_backend
    assert run["seed"] == 0
    assert run["peak_memory_mb"] > 100
    assert set(run["timings_seconds"]) == {"start_up", "training", "evaluation", "total"}
    with (folder / "history.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"} <= set(rows[0])
    for figure in ("training_curves.png", "confusion_matrix.png"):
        assert np.asarray(Image.open(folder / figure).convert("L")).std() > 10, "blank"
    assert not RunFolder(folder).resume_state.exists()
    assert not list(folder.glob(".*partial*"))


def test_the_card_describes_the_model(quick, tmp_path, keras_backend, fashion_mnist_root):
    loaded = artifact.load(quick(tmp_path / "run"))
    card = loaded.card
    assert card.classes[9] == "Ankle boot"
    assert card.test.images == 1000
    assert card.validation.images == 100
    assert card.test.accuracy_low < card.test.accuracy < card.test.accuracy_high
    assert card.backend == keras_backend
    assert card.parameters == loaded.model.count_params()
    assert card.data.digests["train-images-idx3-ubyte"].startswith("c59f468a")
    assert card.config["model"]["widths"] == [8]
    assert 0.05 < card.calibration.temperature < 20
    calibration = card.calibration
    assert calibration.validation_after.loss <= calibration.validation_before.loss
    predictor, _ = Predictor.load(loaded.path)
    validation = fashion_mnist(str(fashion_mnist_root), False, 1000, 0.1, seed=0).validation.images
    kept = predictor.predict(validation).scores <= card.abstention.threshold
    assert kept.mean() == pytest.approx(0.95, abs=0.011)
    assert card.versions["keras"] == keras.__version__
    with zipfile.ZipFile(loaded.path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as stored:
        assert "optimizer" not in stored


def test_a_fold_leaves_its_predictions(quick, tmp_path, fashion_mnist_root):
    folder = quick(tmp_path / "run", "data.folds=4", "data.fold=3", "trainer.epochs=1")
    classes, sources, labels, probabilities = RunFolder(folder).read_validation_predictions()
    data = fashion_mnist(str(fashion_mnist_root), False, 1000, 0.1, 4, 3, seed=7)
    assert classes.tolist() == list(data.classes)
    assert np.array_equal(sources, data.validation.sources)
    assert np.array_equal(labels, data.validation.labels)
    assert len(data.train) == 750
    assert probabilities.dtype == np.float32
    assert np.mean(probabilities.argmax(axis=1) == labels) == pytest.approx(
        RunFolder(folder).read_result().metrics["val_accuracy"]
    )


def test_a_linear_probe_alone_changes_the_last_layer_alone(quick, tmp_path):
    options = ("callbacks=none", "trainer.linear_probe=true", "trainer.epochs=0", "trainer.flip_average=true")
    folder = quick(tmp_path / "probe", *options)
    loaded = artifact.load(folder)
    *frozen, kernel, _ = loaded.model.get_weights()
    assert kernel.shape == (16, 10)
    assert loaded.card.epochs == 0
    assert loaded.card.training_seconds > 0
    timings = RunFolder(folder).read_record().timings_seconds
    assert timings["training"] == timings["linear_probe"]
    assert RunFolder(folder).read_result().metrics["test_accuracy"] > 0.5  # on the features of random weights
    assert not (folder / "training_curves.png").exists()
    tuned = quick(tmp_path / "tuned", *options, "trainer.epochs=1", "optimizer.learning_rate=1e-12")
    *_, tuned_kernel, _ = weights(tuned)
    assert tuned_kernel == pytest.approx(kernel, abs=1e-5)
    assert np.array_equal(frozen[0].shape, weights(tuned)[0].shape)


def test_equal_seeds_give_equal_weights_and_other_seeds_others(quick, tmp_path):
    first, again, other = (
        weights(quick(tmp_path / name, f"trainer.seed={seed}")) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert equal(first, again)
    assert not equal(first, other)


@pytest.mark.parametrize(
    "choice",
    [
        ["augment=none"],
        ["augment=crop_flip"],
        ["augment=randaugment", "augment.magnitude=2", "augment.min_scale=1.0"],
        ["optimizer=sgd"],
        ["optimizer=adamw"],
        ["optimizer=discriminative_adamw"],
        ["optimizer=muon"],
    ],
)
def test_the_other_choices_train(quick, tmp_path, choice):
    folder = quick(tmp_path / "run", *choice, "trainer.epochs=1", "trainer.batch_size=50")
    assert json.loads((folder / "result.json").read_text())["metrics"]["val_accuracy"] > 0.2


def test_bfloat16_trains_and_is_saved_as_float32(quick, tmp_path):
    try:
        folder = quick(tmp_path / "run", "trainer.precision=mixed_bfloat16", "trainer.flip_average=true")
    finally:
        keras.config.set_dtype_policy("float32")
    model = artifact.load(folder).model
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert json.loads((folder / "result.json").read_text())["metrics"]["val_accuracy"] > 0.3


class StopAfter(keras.callbacks.Callback):
    """Interrupt a run in the middle of an epoch, as a signal does."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 3:
            raise KeyboardInterrupt


@pytest.fixture
def interrupted(quick, monkeypatch):
    """Train until the middle of an epoch and be interrupted there."""

    def run(folder, epoch, *overrides):
        with monkeypatch.context() as patch:
            patch.setattr(fit, "GracefulStop", lambda: contextlib.nullcontext(StopAfter(epoch)))
            with pytest.raises(KeyboardInterrupt):
                quick(folder, *overrides)
        assert json.loads((folder / "result.json").read_text())["status"] == "interrupted"
        return folder

    return run


# Patience 1 makes EarlyStopping and ReduceLROnPlateau act within a few epochs, so that their state matters.
PATIENCES = ("callbacks.early_stopping.patience=1", "callbacks.reduce_lr_on_plateau.patience=0")


RECIPE = (
    "optimizer=muon", "+optimizer.use_ema=true", "+optimizer.ema_momentum=0.9", "schedule=one_cycle", "callbacks=none",
    "trainer.label_smoothing=0.1", "augment=mixup", "augment.cutmix_alpha=1.0", "trainer.class_weights=balanced",
)  # fmt: skip
FINE_TUNING = (
    "optimizer=discriminative_adamw", "schedule=one_cycle", "callbacks=none",
    "trainer.linear_probe=true", "trainer.frozen_batch_norm=true", "trainer.flip_average=true",
)  # fmt: skip
HARDEST = (
    "schedule=one_cycle", "callbacks=none",
    "trainer.hardest_share=0.4", "trainer.hardest_from_epoch=2", "trainer.hardest_to_epoch=4",
)  # fmt: skip


@pytest.mark.parametrize(
    ("epoch", "choices"), [(0, PATIENCES), (1, RECIPE), (2, FINE_TUNING), (3, HARDEST), (3, PATIENCES)]
)
def test_a_resumed_run_ends_with_the_weights_of_an_undisturbed_one(quick, interrupted, tmp_path, epoch, choices):
    options = ("trainer.epochs=5", "model.dropout=0.5", *choices)
    whole = quick(tmp_path / "whole", *options)
    rows = (whole / "history.csv").read_text().splitlines()
    if len(rows) - 1 <= epoch:
        pytest.fail(f"the undisturbed run stopped after {len(rows) - 1} epochs: nothing to interrupt in epoch {epoch}")
    parted = interrupted(tmp_path / "parted", epoch, *options)
    quick(parted, *options, f"trainer.resume={parted}")
    assert equal(weights(whole), weights(parted))
    seconds = json.loads((parted / "run.json").read_text())["timings_seconds"]
    assert seconds["total"] > seconds["training"] + seconds["evaluation"]
    without_seconds = [row.rpartition(",")[0] for row in (parted / "history.csv").read_text().splitlines()]
    assert without_seconds == [row.rpartition(",")[0] for row in rows]
    first, second = (json.loads((folder / "result.json").read_text()) for folder in (whole, parted))
    assert first["metrics"] == second["metrics"]
    assert first["config_hash"] == second["config_hash"]


def test_a_run_is_not_resumed_with_another_configuration(interrupted, quick, tmp_path):
    folder = interrupted(tmp_path / "run", 1)
    with pytest.raises(FashionError, match=r"^optimizer\.learning_rate: got 0\.01, but the run to resume has 0\.001"):
        quick(folder, f"trainer.resume={folder}", "optimizer.learning_rate=0.01")
    assert RunFolder(folder).resume_state.exists()
    quick(folder, f"trainer.resume={folder}", "trainer.epochs=3")  # more epochs are accepted
    assert len((folder / "history.csv").read_text().splitlines()) == 4


def test_a_damaged_state_is_named_and_kept(interrupted, quick, tmp_path):
    folder = interrupted(tmp_path / "run", 1)
    state = RunFolder(folder).resume_state
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(FashionError, match=r"resume\.npz: is damaged"):
        quick(folder, f"trainer.resume={folder}")
    assert state.stat().st_size == 5000


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_earlier_model(quick, tmp_path):
    folder = quick(tmp_path / "run")
    before = weights(folder)
    with pytest.raises(FashionError, match=r"the loss became nan in epoch 1 at step \d+ with optimizer.learning_rate"):
        quick(folder, "optimizer=sgd", "optimizer.learning_rate=1e30", "trainer.overwrite=true")
    assert json.loads((folder / "result.json").read_text())["status"] == "failed"
    assert equal(before, weights(folder))


def test_a_full_disk_ends_the_run_and_keeps_the_earlier_model(quick, tmp_path, monkeypatch):
    folder = quick(tmp_path / "run")
    before = weights(folder)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(FashionError, match=r"cannot be written.*No space left on device.*earlier file.*intact"):
        quick(folder, "trainer.overwrite=true")
    assert equal(before, weights(folder))
    assert json.loads((folder / "result.json").read_text())["status"] == "failed"


def test_two_processes_do_not_train_in_one_folder(quick, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with exclusive_lock(folder), pytest.raises(FashionError, match="another process is training there"):
        quick(folder)


def test_a_refused_argument_is_one_sentence(quick, tmp_path):
    with pytest.raises(FashionError, match=r"trainer\.batch_size: got 5000"):
        quick(tmp_path / "run", "trainer.batch_size=5000")


def test_the_step_is_compiled_where_that_is_faster(compose_train, tmp_path, keras_backend):
    """JAX without JIT is a hundred times slower; TensorFlow with XLA ten times, on a CPU."""
    settings = start_training(resolved(compose_train(tmp_path, *QUICK, f"trainer.backend={keras_backend}")))
    config = resolved(compose_train(tmp_path, *QUICK))
    network = fit.build_network(config, settings, build(config["data"], seed=0), steps=1)
    assert network.jit_compile is (keras_backend == "jax")
    assert network.supports_jit


def test_latest_points_to_the_newest_completed_run_in_outputs_only(tmp_path, monkeypatch):
    monkeypatch.setattr(active_run, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(active_run, "BENCHMARKS", tmp_path / "outputs" / "benchmarks")
    for name in ("first", "second"):
        (tmp_path / "outputs" / "train" / name).mkdir(parents=True)
        active_run.point_latest(tmp_path / "outputs" / "train" / name)
    assert os.readlink(tmp_path / "outputs" / "latest") == "train/second"
    active_run.point_latest(tmp_path)
    active_run.point_latest(tmp_path / "outputs" / "benchmarks" / "runs" / "third")
    assert os.readlink(tmp_path / "outputs" / "latest") == "train/second"


def test_a_run_completes_where_latest_cannot_be_replaced(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(active_run, "OUTPUTS", tmp_path)
    (tmp_path / "latest" / "somebody's").mkdir(parents=True)
    (tmp_path / "train").mkdir()
    active_run.point_latest(tmp_path / "train")
    assert caplog.messages == [f"{tmp_path}/latest cannot be replaced (Is a directory) and does not point to this run"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "train"]


def test_a_run_that_died_after_its_training_only_has_to_be_evaluated(quick, tmp_path, monkeypatch):
    options = ("trainer.epochs=5", "model.dropout=0.5", *PATIENCES)
    whole = quick(tmp_path / "whole", *options)
    parted = tmp_path / "parted"

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finalize, "write", die)
        with pytest.raises(KeyboardInterrupt):
            quick(parted, *options)
    history = (parted / "history.csv").read_text()
    quick(parted, *options, f"trainer.resume={parted}")
    assert (parted / "history.csv").read_text() == history
    assert equal(weights(whole), weights(parted))


def test_a_fresh_start_in_the_folder_of_an_unfinished_run_is_refused(interrupted, quick, tmp_path):
    folder = interrupted(tmp_path / "run", 1)
    state = RunFolder(folder).resume_state.read_bytes()
    with pytest.raises(FashionError, match=r"there is an unfinished run; resume it with trainer\.resume="):
        quick(folder)
    assert RunFolder(folder).resume_state.read_bytes() == state


def test_a_finished_run_is_replaced_on_request_alone(quick, tmp_path):
    folder = quick(tmp_path / "run", "trainer.epochs=1")
    RunFolder(folder).write_mlflow_run("its run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FashionError, match=r"there is a finished run; .* replace it with trainer\.overwrite=true"):
        quick(folder, "trainer.epochs=1")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    quick(folder, "trainer.epochs=1", "trainer.seed=1", "trainer.overwrite=true")
    first, second = json.loads(before["result.json"]), json.loads((folder / "result.json").read_text())
    assert (first["status"], second["status"]) == ("completed", "completed")
    assert artifact.load(folder).card.seed == 1
    assert artifact.load(folder).card.config["trainer"].keys().isdisjoint({"resume", "overwrite"})
    assert RunFolder(folder).read_mlflow_run() is None


def test_stopping_early_is_logged_with_the_epoch_that_was_kept(quick, tmp_path, caplog):
    caplog.set_level("INFO")
    options = ("callbacks.early_stopping.patience=0", "callbacks.early_stopping.min_delta=100", "trainer.epochs=5")
    quick(tmp_path / "run", f"+{options[1]}", options[0], options[2])
    assert "stopped early: val_loss was best in epoch 1; its weights are kept" in caplog.text
