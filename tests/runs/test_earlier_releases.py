"""Folders of runs and sweeps in the form that earlier releases wrote them."""

import json

import numpy as np
import pytest

from fashion.config.schema import resolved
from fashion.runs import resume_override
from fashion.runs.folder import RunFolder
from fashion.sweeps import results, sweep_resume
from fashion.sweeps.manifest import SweepManifest, refuse_other_configurations
from fashion.sweeps.sweep_page import write_report

OVERRIDES = ["model=wide_resnet", "model.widening=2", "callbacks=mlflow", "data.limit=1000", "trainer.epochs=6"]
TODAY = ["model=wide_resnet", "model.width_multiplier=2", "callbacks=mlflow", "data.limit=1000", "trainer.epochs=6"]
TRAINER_KEYS = (  # of release 0.1
    *("backend", "epochs", "batch_size", "seed", "label_smoothing", "flip_average", "precision", "jit"),
    *("fast_layers", "distribution", "deterministic", "resume", "overwrite"),
)


def as_before(config: dict) -> dict:
    """Give a configuration the keys and targets of release 0.1."""
    model = dict(config["model"])
    model["widening"] = model.pop("width_multiplier")
    callbacks = {**config["callbacks"], "mlflow": {"_target_": "fashion.training.mlflow.MLflow", "store": None}}
    data = {**config["data"], "_target_": "fashion.data.dataset.fashion_mnist"}
    del data["folds"], data["fold"]
    trainer = {key: config["trainer"][key] for key in TRAINER_KEYS}
    return {**config, "model": model, "callbacks": callbacks, "data": data, "trainer": trainer}


@pytest.fixture
def run(tmp_path, compose_train):
    """An interrupted run after its second epoch, and the configuration of today that it is resumed with."""
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {override}\n" for override in OVERRIDES))
    config = resolved(compose_train(folder, *TODAY))
    about = {
        "epochs": 2, "stopped": False, "history": {"loss": [1.5, 1.25], "val_loss": [0.9, 0.8]},
        "config": as_before(config), "seconds": 12.5, "callbacks": [{"best": 0.8, "wait": 0, "stopped_epoch": 0}],
    }  # fmt: skip
    np.savez(folder / "resume.npz", about=np.array(json.dumps(about)), **{"model/0000": np.ones(3, np.float32)})
    result = {"status": "interrupted", "metrics": {}, "overrides": OVERRIDES, "config_hash": "0", "error": "x"}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "run.json").write_text(json.dumps({"started": "2026-01-02T03:04:05+00:00", "backend": "jax"}))
    return RunFolder(folder), config


def test_a_run_is_resumed_with_todays_names(run):
    folder, config = run
    assert folder.status() == "interrupted"
    arguments = resume_override.command_line([f"trainer.resume={folder}"])
    assert arguments[: len(TODAY)] == TODAY
    resumed = {**config, "trainer": {**config["trainer"], "resume": str(folder)}}
    resume_override.check(resumed, folder.path)
    state = folder.read_resume_state()
    assert (state.progress.epochs, state.progress.history["loss"]) == (2, [1.5, 1.25])
    assert state.arrays["model/0000"].tolist() == [1, 1, 1]
    assert folder.read_record().backend == "jax"


@pytest.fixture
def sweep(tmp_path, compose_train):
    """A sweep with one completed and one failed job, and its jobs' configurations of today."""
    folder = tmp_path / "sweep"
    configs, jobs = [], []
    for number, (width, status) in enumerate([(1, "completed"), (2, "failed")]):
        own = ["model=wide_resnet", f"model.widening={width}", "callbacks=mlflow"]
        job = folder / str(number)
        (job / ".hydra").mkdir(parents=True)
        (job / ".hydra" / "overrides.yaml").write_text("".join(f"- {override}\n" for override in own))
        metrics = {"val_accuracy": 0.9, "val_loss": None} if status == "completed" else {}
        error = {} if status == "completed" else {"error": "FashionError: the loss became nan"}
        (job / "result.json").write_text(json.dumps({"status": status, "metrics": metrics, **error}))
        today = [override.replace("widening", "width_multiplier") for override in own]
        config = resolved(compose_train(folder, *today))
        config.pop("run_folder")
        configs.append(config)
        jobs.append({"number": number, "overrides": own, "config": as_before(config), "trial": number})
    content = {
        "arguments": ["model=wide_resnet", "model.widening=1,2", "callbacks=mlflow", "sweep.at_a_time=2"],
        "search": {"_target_": "fashion.sweeps.optuna.OptunaSearch", "objective": "val_accuracy", "trials": 3},
        "jobs": jobs,
    }
    (folder / "sweep.json").write_text(json.dumps(content))
    return folder, configs


def test_a_sweep_is_resumed_with_todays_names(sweep):
    folder, configs = sweep
    arguments = sweep_resume.command_line(["-m", f"sweep.resume={folder}"])
    assert arguments[:4] == [
        "model=wide_resnet", "model.width_multiplier=1,2", "callbacks=mlflow", "sweep.concurrency=2",
    ]  # fmt: skip
    manifest = SweepManifest.read(folder)
    today = [type(job)(job.number, job.overrides, config) for job, config in zip(manifest.jobs, configs, strict=True)]
    refuse_other_configurations(manifest.jobs, today)
    assert manifest.planned_jobs == 3


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_sweep_has_its_table_and_its_page(sweep, with_manifest):
    folder, _ = sweep
    if not with_manifest:
        (folder / "sweep.json").unlink()
    table = write_report(folder)
    assert [(row.status, row.metrics, row.error) for row in table.rows] == [
        ("completed", {"val_accuracy": 0.9}, None),
        ("failed", {}, "the loss became nan"),
    ]
    assert results.read(folder).varying == ["model.width_multiplier"]
    assert "the loss became nan" in (folder / "sweep.html").read_text()
