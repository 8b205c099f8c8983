"""``python scripts/train.py -m`` as a user runs it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from fashion.files import LOCK_FILE, exclusive_lock
from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder
from fashion.runs.result import RunResult
from fashion.runs.run_record import RunRecord

QUICK = ("model=cnn", "model.widths=[8]", "model.dense_units=[16]", "data.limit=1000", "trainer.batch_size=100")
MEASURED = ("job", "status", "trainer.backend", "val_accuracy", "val_loss", "test_accuracy", "test_loss", "epochs")


def table(folder) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open() as stream:
        return list(csv.DictReader(stream))


def measured(folder) -> list[list[str]]:
    return [[row[name] for name in MEASURED] for row in table(folder)]


def both(store) -> tuple[str, ...]:
    """One job on each backend, kept by MLflow in a SQLite file, with an experiment of the user's own folder."""
    own = store.parent / "own configs"
    (own / "experiment").mkdir(parents=True, exist_ok=True)
    (own / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel:\n  dropout: 0.125\n")
    tracked = ("callbacks=mlflow", f"callbacks.mlflow.store=sqlite:///{store}")
    mine = ("--config-dir", str(own), "experiment=mine")
    return (*QUICK, "trainer.epochs=4", *tracked, *mine, "trainer.backend=jax,tensorflow")


def assert_complete(run, folder) -> None:
    """Each job has run on its own backend, which takes a process of its own, and the page shows both."""
    assert run.returncode == 0, run.stdout + run.stderr
    records = [json.loads((folder / number / "run.json").read_text()) for number in "01"]
    assert [record["backend"] for record in records] == ["jax", "tensorflow"]
    assert [row["status"] for row in table(folder)] == ["completed", "completed"]
    configs = [yaml.safe_load((folder / number / ".hydra" / "config.yaml").read_text()) for number in "01"]
    assert [config["model"]["dropout"] for config in configs] == [0.125, 0.125]
    assert run.stdout.count("completed   val_accuracy") == 2
    assert "2 completed of 2 jobs" in run.stdout
    page = (folder / "sweep.html").read_text()
    assert "python scripts/train.py model=cnn" in page
    assert f"--config-dir={folder.parent / 'own configs'}" in page
    assert "trainer.seed" not in page  # it does not vary


def assert_tracked(store, experiment) -> None:
    """Both jobs are one experiment of MLflow, each a run with its configuration, every epoch, and its figures."""
    client = MlflowClient(f"sqlite:///{store}")
    found = client.get_experiment_by_name(experiment)
    runs = sorted(client.search_runs([found.experiment_id]), key=lambda run: run.info.run_name)
    assert [(run.info.run_name, run.info.status) for run in runs] == [("0", "FINISHED"), ("1", "FINISHED")]
    assert [run.data.params["trainer.backend"] for run in runs] == ["jax", "tensorflow"]
    for run in runs:
        steps = {metric.step for metric in client.get_metric_history(run.info.run_id, "val_loss")}
        assert steps == {0, 1, 2, 3, 4}  # 0 holds what the finished run has
        figures = [file.path for file in client.list_artifacts(run.info.run_id, "figures")]
        assert figures == ["figures/confusion_matrix.png", "figures/training_curves.png"]
    assert (store.parent / "artifacts").is_dir()


def descendants(process: int) -> list[int]:
    said = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True).stdout
    return [found for child in map(int, said.split()) for found in (child, *descendants(child))]


def start(folder, *options) -> subprocess.Popen:
    command = [sys.executable, str(PROJECT / "scripts" / "train.py"), "-m", *options]
    return subprocess.Popen(
        [*command, f"hydra.sweep.dir={folder}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_epoch(process, history: Path, number: int) -> None:
    until = time.monotonic() + 120
    while not history.exists() or len(history.read_text().splitlines()) <= number:
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(f"no epoch {number} in {history}: {process.communicate()[0]}")
        time.sleep(0.02)


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="which processes a sweep has is read from /proc")
def test_a_sweep_killed_twice_ends_with_the_table_of_an_undisturbed_one(run_command, fashion_mnist_root, tmp_path):
    whole = tmp_path / "whole"
    undisturbed = run_command("train.py", "-m", *both(tmp_path / "whole.db"), f"hydra.sweep.dir={whole}")
    assert_complete(undisturbed, whole)
    assert_tracked(tmp_path / "whole.db", whole.name)

    folder = tmp_path / "killed, it's = {odd}"
    quoted = str(folder).replace("'", "\\'")
    options = both(tmp_path / "mlflow.db")
    process = start(f"'{quoted}'", *options)
    wait_for_epoch(process, folder / "0" / "history.csv", 2)
    os.kill(descendants(process.pid)[-1], signal.SIGKILL)  # as the system does when memory runs out
    wait_for_epoch(process, folder / "1" / "history.csv", 1)
    lost = json.loads((folder / "0" / "result.json").read_text())
    assert lost["status"] == "failed"
    assert lost["error"].startswith("the process was killed by SIGKILL")
    job = descendants(process.pid)[-1]
    process.kill()
    process.communicate()
    until = time.monotonic() + 10
    while not gone(job):  # a job ends with the sweep that started it
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not (folder / "1" / "result.json").exists()

    changed = run_command("train.py", "-m", f"sweep.resume={folder}", *options, "optimizer=sgd")
    assert changed.returncode == 2
    assert changed.stderr == "error: optimizer: got sgd, but the sweep to resume has nothing; leave it as it was\n"

    again = run_command("train.py", "-m", f"sweep.resume={folder}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resuming after epoch" in (folder / "0" / "output.log").read_text()
    assert "resuming after epoch" in (folder / "1" / "output.log").read_text()
    assert measured(folder) == measured(whole)
    assert_tracked(tmp_path / "mlflow.db", folder.name)
    before = (folder / "0" / "result.json").stat().st_mtime_ns
    assert run_command("train.py", "-m", *options, f"sweep.resume={folder}").returncode == 0
    assert (folder / "0" / "result.json").stat().st_mtime_ns == before


def test_one_failure_does_not_stop_the_others(run_command, fashion_mnist_root, tmp_path):
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    options = (*QUICK, *side_by_side, "optimizer=sgd", "optimizer.learning_rate=1e30,0.01", "trainer.epochs=1")
    run = run_command("train.py", "-m", *options, f"hydra.sweep.dir={tmp_path}")
    assert run.returncode == 2
    assert run.stderr.startswith("error: 1 of 2 jobs did not complete; the first, #0: the loss became")
    assert run.stderr.count("\n") == 1
    failed, completed = table(tmp_path)
    assert (failed["status"], completed["status"]) == ("failed", "completed")
    assert "the loss became" in failed["error"]
    page = (tmp_path / "sweep.html").read_text()
    assert failed["error"] in page.replace("&#39;", "'")
    twice = run_command("train.py", "-m", *options, f"hydra.sweep.dir={tmp_path}")
    assert twice.returncode == 2
    assert "there is a sweep already; resume it with -m sweep.resume=" in twice.stderr


@pytest.mark.process
def test_interrupting_a_sweep_stops_its_job_cleanly(fashion_mnist_root, tmp_path):
    process = start(tmp_path, *QUICK, "trainer.epochs=500", "callbacks=none", "trainer.seed=0,1")
    wait_for_epoch(process, tmp_path / "0" / "history.csv", 1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert RunFolder(tmp_path / "0").status() == "interrupted"
    assert RunFolder(tmp_path / "1").status() == "waiting"
    assert [row["status"] for row in table(tmp_path)] == ["interrupted", "waiting"]


def test_a_sweep_does_not_adopt_the_jobs_of_another(run_command, tmp_path):
    RunFolder(tmp_path / "0").write_result(RunResult(status="completed"))
    RunFolder(tmp_path / "0").write_record(RunRecord())
    run = run_command("train.py", "-m", "model=cnn", f"hydra.sweep.dir={tmp_path}")
    assert run.returncode == 2
    assert run.stderr == f"error: {tmp_path}: there are jobs of another sweep; choose another hydra.sweep.dir\n"
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


WRONG = [
    (["trainer.epochz=1,2"], "trainer.epochz: there is no such key"),
    (["trainer.epochs=1,-1"], "trainer.epochs: got -1, expected greater than or equal to 0"),
    (["optimizer=adam,nosuch"], "optimizer: got nosuch, expected one of adam, adamw, discriminative_adamw, muon, sgd"),
    (["optimizer="], "optimizer: got , expected one of"),
    (["optimizer=adam,"], "optimizer=adam,: cannot be read as key=value"),
    (["trainer.seed=range(3,3)"], "trainer.seed=range(3,3): got no value to choose from"),
    (["model=glob(zz*)"], "model=glob(zz*): got no value to choose"),
    (["optimizer.learning_rate=interval(0,1)"], "optimizer.learning_rate=interval(0,1): got an interval"),
    (["sweep.objective=f1"], "sweep.objective: got 'f1', expected 'val_accuracy' or 'val_loss'"),
    (["sweep.nosuch=1"], "sweep.nosuch: there is no such key"),
    (["hparams_search=nosuch"], "hparams_search: got nosuch, expected one of grid, optuna"),
    (["hparams_search=optuna"], "hparams_search=optuna: got nothing to search"),
    (["hparams_search=optuna", "optimizer=adam,nosuch"], "optimizer: got nosuch"),
    (["hparams_search=optuna", "optimizer.learning_rate=interval(-1,1)"], "optimizer.learning_rate: got -1.0"),
    (["hparams_search=optuna", "trainer.seed=0,1", "sweep.repeats=2"], "trainer.seed: got choices with sweep.repeats"),
    (
        ["hparams_search=optuna", "optimizer=adam,sgd", "sweep.storage=nosuch"],
        "sweep.storage: got nosuch, which",
    ),
    (["hydra/launcher=nosuch"], "hydra/launcher: got nosuch, expected one of"),
    (["hydra.launcher.n_jobs=2"], "hydra.launcher.n_jobs: there is no such key; hydra.launcher has none; choose"),
    (["experiment=tiny", "model=cnn,resnet"], "model.stem_filters: there is no such key; model has dense_units"),
    (["hydra.sweep.subdir=x"], "hydra.sweep.subdir: got x, but each job writes to the folder of its number"),
    (["experiment=smoke", "optimizer=adam,null"], "optimizer: got null, expected one of the choices in"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG, ids=[" ".join(wrong[0]) for wrong in WRONG])
def test_a_wrong_sweep_ends_before_its_first_job(run_command, tmp_path, overrides, message):
    run = run_command("train.py", "-m", "model=cnn", *overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {message}")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_that_finds_its_folder_in_use_leaves_it_alone(run_command, tmp_path):
    with exclusive_lock(tmp_path):
        run = run_command("train.py", "-m", "model=cnn", "trainer.seed=0,1", f"hydra.sweep.dir={tmp_path}")
        assert run.returncode == 2
        assert run.stderr.startswith(f"error: {tmp_path}: another process is training there")
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
