"""A job of a sweep: how it is started, and what is recorded where it could not do so itself."""

import sys
import threading

import pytest
from omegaconf import OmegaConf

from fashion.runs.folder import RunFolder
from fashion.sweeps import job_process


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The folder of a job, as Hydra's configuration of the process names it."""
    folder = RunFolder(tmp_path / "sweep" / "0")
    folder.path.mkdir(parents=True)
    hydra = {
        "runtime": {"output_dir": str(folder), "config_sources": []},
        "job": {"config_name": "train"},
        "overrides": {"task": ["model=cnn"]},
        "launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"},
    }
    monkeypatch.setattr(job_process.HydraConfig, "get", lambda: OmegaConf.create(hydra))
    return folder


def test_a_run_without_epochs_that_was_stopped_after_it_saved_its_model_is_resumed(job):
    """It has no state to resume from, and a fresh start would be refused: there is a model."""
    assert job_process._command(["model=cnn"], job)[2:] == ["model=cnn", f"hydra.run.dir='{job}'"]
    (job.path / "pets_model.keras").touch()
    assert job_process._command(["model=cnn"], job)[2:] == [f"trainer.resume={job}"]


@pytest.mark.process
@pytest.mark.parametrize(("is_pruned", "status"), [(True, "pruned"), (False, "failed")])
def test_a_job_that_is_pruned_before_it_has_begun_to_train_has_not_failed(
    job, monkeypatch, compose_train, is_pruned, status
):
    seconds = 60 if is_pruned else 0
    program = f"import time; time.sleep({seconds}); raise SystemExit('error: no memory')"
    monkeypatch.setattr(job_process, "_command", lambda arguments, folder: [sys.executable, "-c", program])
    if is_pruned:
        threading.Timer(0.5, job.request_prune).start()
    job_process.run(compose_train(job.path))
    assert job.status() == status
    assert job.read_result().error == ("its trial was pruned" if is_pruned else "no memory")
