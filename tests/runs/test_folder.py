"""The one reader and writer of a run's files."""

import json
import shutil

import numpy as np
import pytest

from fashion.errors import FashionError, FolderBusyError
from fashion.files import exclusive_lock
from fashion.runs.folder import RunFolder, job_folders
from fashion.runs.result import RunResult
from fashion.runs.resume_state import ResumeState, TrainingProgress
from fashion.runs.run_record import GitState, RunRecord


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)


def start(folder: RunFolder, overrides: str = "- model=cnn\n- optimizer.learning_rate=1e-3\n") -> None:
    (folder.path / ".hydra").mkdir()
    (folder.path / ".hydra" / "overrides.yaml").write_text(overrides)


@pytest.mark.parametrize(
    ("started", "result", "pruned", "status"),
    [
        (False, None, False, "waiting"),
        (True, None, False, "running"),
        (True, "completed", False, "completed"),
        (True, "failed", False, "failed"),
        (True, "interrupted", False, "interrupted"),
        (False, None, True, "pruned"),
        (True, None, True, "running"),  # until its process has stopped
        (True, "interrupted", True, "pruned"),
        (True, "completed", True, "completed"),  # it ended before it could be stopped
    ],
)
def test_the_status_follows_from_what_the_folder_holds(folder, started, result, pruned, status):
    if started:
        start(folder)
    if result:
        folder.write_result(RunResult(status=result))
    if pruned:
        folder.request_prune()
    assert folder.status() == status


def test_a_result_is_read_back(folder):
    result = RunResult(status="failed", overrides=["model=cnn"], config_hash="ab12", error="two\nlines")
    folder.write_result(result)
    assert folder.read_result() == result
    assert result.error == "two lines"
    assert json.loads((folder.path / "result.json").read_text()) == {
        "status": "failed", "metrics": {}, "overrides": ["model=cnn"], "config_hash": "ab12", "error": "two lines",
    }  # fmt: skip


def test_a_metric_that_is_not_finite_is_null_in_the_file_and_left_out_when_read(folder):
    folder.write_result(RunResult(status="completed", metrics={"val_loss": float("nan"), "val_accuracy": 0.1}))
    assert json.loads((folder.path / "result.json").read_text())["metrics"]["val_loss"] is None
    assert folder.read_result().metrics == {"val_accuracy": 0.1}


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "{}", '{"status": "unheard of"}', '{"status": "failed", "metrics": 3}']
)
def test_a_damaged_result_counts_as_none(folder, content):
    (folder.path / "result.json").write_text(content)
    assert folder.read_result() is None


def test_a_record_is_read_back(folder):
    record = RunRecord(
        backend="jax",
        device="cpu:0",
        versions={"numpy": "2.4.0"},
        hardware={"processor": "x", "cores": 2, "memory_gb": 7.5, "system": "Linux"},
        git=GitState(commit="ab12", modified=True),
        command=["train.py", "model=cnn"],
        started="2026-01-02T03:04:05+00:00",
        seed=3,
        timings_seconds={"total": 1.5},
        peak_memory_mb=700.5,
    )
    assert folder.read_record() == RunRecord()
    folder.write_record(record)
    assert folder.read_record() == record
    assert type(folder.read_record().hardware["cores"]) is int


def test_a_history_is_read_back(folder):
    assert folder.read_history() == {}
    history = {"loss": [1.5, 1.25], "val_loss": [0.9, float("nan")]}
    folder.write_history(history)
    assert (folder.path / "history.csv").read_text() == "epoch,loss,val_loss\n1,1.5,0.9\n2,1.25,nan\n"
    assert folder.read_history()["loss"] == history["loss"]
    assert np.isnan(folder.read_history()["val_loss"][1])


def test_a_state_is_read_back_with_values_that_json_lacks(folder):
    progress = TrainingProgress(
        epochs=2, stopped=False, history={"loss": [1.5, float("inf")]}, config={"trainer": {"seed": 0}}, seconds=3.25,
        callbacks=[{"best": float("inf"), "wait": 1, "restore_best_weights": True, "baseline": None}],
    )  # fmt: skip
    arrays = {"model/0000": np.arange(6, dtype=np.float32).reshape(2, 3), "model/0001": np.array(7, np.uint32)}
    assert folder.read_resume_state() is None
    folder.write_resume_state(ResumeState(progress, arrays))
    assert folder.read_progress() == progress
    state = folder.read_resume_state()
    assert state.progress == progress
    assert {type(value) for value in state.progress.callbacks[0].values()} == {float, int, bool, type(None)}
    assert all(np.array_equal(state.arrays[name], array) for name, array in arrays.items())
    assert {array.dtype for array in state.arrays.values()} == {np.dtype(np.float32), np.dtype(np.uint32)}
    folder.remove_resume_state()
    assert folder.read_progress() is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello"])
def test_a_damaged_state_is_named(folder, content):
    folder.resume_state.write_bytes(content)
    with pytest.raises(FashionError, match=r"resume\.npz: is damaged .* remove it to start the run from the beginning"):
        folder.read_progress()


def test_overrides_are_read_as_they_were_written(folder):
    with pytest.raises(FashionError, match="is not the folder of a run"):
        folder.read_overrides()
    start(folder, "- model=cnn\n- optimizer.learning_rate=1e-3\n- +trainer.note=null\n- ~callbacks\n")
    assert folder.read_overrides() == [
        "model=cnn", "optimizer.learning_rate=1e-3", "+trainer.note=null", "~callbacks",
    ]  # fmt: skip
    (folder.path / ".hydra" / "overrides.yaml").write_text("- 'model\n")
    with pytest.raises(FashionError, match=r"overrides\.yaml: is damaged"):
        folder.read_overrides()


@pytest.mark.parametrize(
    ("name", "read", "content"),
    [
        ("overrides", RunFolder.read_overrides, ""),
        ("overrides", RunFolder.read_overrides, "key: value"),
        ("config", RunFolder.read_config, ""),
        ("config", RunFolder.read_config, "text"),
        ("config", RunFolder.read_training_config, "run_folder: x\ndata: {limit: null}\ntrainer:\n"),
        ("hydra", RunFolder.read_hydra, ""),
        ("hydra", RunFolder.read_hydra, "hydra:"),
        ("hydra", RunFolder.read_hydra, "hydra: {run: {dir: x}}"),
    ],
)
def test_a_copy_of_the_configuration_that_was_cut_off_is_named(folder, name, read, content):
    (folder.path / ".hydra").mkdir()
    (folder.path / ".hydra" / f"{name}.yaml").write_text(content)
    with pytest.raises(FashionError, match=rf"{name}\.yaml: is damaged; start a new run"):
        read(folder)


def test_a_run_records_its_overrides_itself(folder):
    """Hydra writes no copy with ``hydra.output_subdir=null``, and another command may replace it."""
    start(folder, "- experiment=smoke\n")
    folder.write_record(RunRecord(started="2026-01-02T03:04:05+00:00", overrides=["model=cnn"]))
    assert folder.read_overrides() == ["model=cnn"]
    shutil.rmtree(folder.path / ".hydra")
    assert folder.started
    assert folder.started_at == (folder.path / "run.json").stat().st_mtime
    assert folder.status() == "running"
    assert folder.read_overrides() == ["model=cnn"]


@pytest.mark.parametrize(
    ("model", "state", "status", "finished"),
    [
        (True, False, "completed", True),
        (True, True, "completed", True),  # killed before it could remove its state
        (True, True, None, False),  # killed between its model and its end
        (True, False, None, True),  # a copied artifact
        (True, False, "failed", True),  # its model is the one of an earlier run
        (False, True, "interrupted", False),
        (False, False, "failed", False),
        (False, False, None, False),
    ],
)
def test_a_folder_with_a_model_is_finished_unless_its_run_can_be_resumed(folder, model, state, status, finished):
    if model:
        folder.model.touch()
    if state:
        folder.resume_state.touch()
    if status:
        folder.write_result(RunResult(status=status))
    assert folder.finished is finished


def test_a_busy_folder_is_refused_and_a_free_one_is_left_alone(folder):
    folder.refuse_if_busy()
    assert list(folder.path.iterdir()) == []
    with exclusive_lock(folder.path), pytest.raises(FolderBusyError, match="another process is training there"):
        folder.refuse_if_busy()
    folder.refuse_if_busy()


def test_a_fresh_start_removes_the_result_and_partial_files_alone(folder):
    folder.write_result(RunResult(status="interrupted"))
    folder.write_history({"loss": [1.0]})
    (folder.path / ".resume.4711.partial.npz").touch()
    folder.clear_for_start()
    assert [path.name for path in folder.path.iterdir()] == ["history.csv"]


def test_overwriting_removes_how_far_the_earlier_run_was_and_keeps_its_model(folder):
    folder.write_result(RunResult(status="interrupted"))
    folder.write_history({"loss": [1.0]})
    folder.write_mlflow_run("its run")
    folder.resume_state.touch()
    folder.model.touch()
    (folder.path / "best.keras").touch()
    folder.clear_for_start(overwrite=True)
    assert list(folder.path.iterdir()) == [folder.model]


def test_the_jobs_of_a_sweep_are_found_by_number(tmp_path):
    for name in ("10", "2", "notes"):
        (tmp_path / name).mkdir()
        start(RunFolder(tmp_path / name))
    (tmp_path / "3").mkdir()
    (tmp_path / "4").mkdir()
    RunFolder(tmp_path / "4").write_record(RunRecord())
    assert list(job_folders(tmp_path)) == [2, 4, 10]
