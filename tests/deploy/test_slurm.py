"""deploy/slurm/train.sbatch on a real Slurm: it trains on a folder, and a requeued job resumes its run."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from image_folders import write_classes

from fashion.paths import PROJECT

SCRIPT = PROJECT / "deploy" / "slurm" / "train.sbatch"
EPOCHS = 4
SMALL = ["model=cnn", "model.widths=[8]", "model.dense_units=[16]", "data.image_size=32", "trainer.batch_size=16"]
WITHIN = 240.0


def wait_for(reached: Callable[[], object], output: Path) -> None:
    until = time.monotonic() + WITHIN
    while not reached():
        if time.monotonic() > until:
            pytest.fail(f"not reached: {output.read_text() if output.exists() else 'no output'}")
        time.sleep(0.1)


@pytest.mark.slow
def test_a_requeued_job_resumes_its_run(slurm, tmp_path):
    if not (PROJECT / ".venv").exists():
        pytest.skip("the script runs .venv/bin/python, which make has not made here")
    write_classes(tmp_path / "photos", {"cat": 30, "dog": 30})
    environment = {**os.environ, **slurm, "RUNS": str(tmp_path / "runs")}

    def command(*arguments: object) -> str:
        finished = subprocess.run(
            [str(argument) for argument in arguments], capture_output=True, text=True, cwd=PROJECT, env=environment
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.strip()

    output = tmp_path / "output"
    overrides = ["data=folder", f"data.root={tmp_path}/photos", f"data.cache={tmp_path}/cache", *SMALL]
    here = ["--mem=0", "--cpus-per-task=1", f"--output={output}"]  # the tests' cluster is one machine
    job = command("sbatch", "--parsable", *here, SCRIPT, *overrides, f"trainer.epochs={EPOCHS}")
    wait_for(lambda: output.exists() and "epoch 1/" in output.read_text(), output)
    command("scontrol", "requeue", job)

    def started_again() -> bool:
        state = command("squeue", "--noheader", "--format=%T %r", f"--jobs={job}")
        if state == "PENDING BeginTime":  # for two minutes, unless it starts at this moment, when the update is refused
            update = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
            subprocess.run(update, capture_output=True, env=environment)
        return state.startswith("RUNNING")

    wait_for(started_again, output)
    wait_for(lambda: "test accuracy" in output.read_text(), output)
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name == job
    assert list(run.glob("*_model.keras"))
    assert len((run / "history.csv").read_text().splitlines()) == 1 + EPOCHS
    assert len(re.findall(r"^epoch 1/", output.read_text(), re.MULTILINE)) == 1  # it did not start again
