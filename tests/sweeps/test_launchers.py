"""One sweep of two jobs through each launcher of many machines, on real engines; joblib's is in test_sweep.py."""

import csv
import os
import sys

import pytest

from fashion.paths import PROJECT

QUICK = ("model=cnn", "model.widths=[8]", "model.dense_units=[16]", "trainer.epochs=1")
CHOICES = "optimizer=adam,sgd"


@pytest.fixture
def mine(tmp_path) -> tuple[str, ...]:
    """A relative folder of configuration files, and an experiment that only it has."""
    (tmp_path / "configs" / "experiment").mkdir(parents=True)
    (tmp_path / "configs" / "experiment" / "mine.yaml").write_text("# @package _global_\ndata:\n  limit: 1000\n")
    return f"--config-dir={os.path.relpath(tmp_path / 'configs', PROJECT)}", "experiment=mine"


def table(folder) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open() as stream:
        return list(csv.DictReader(stream))


def assert_both_jobs_completed(run, folder) -> None:
    assert run.returncode == 0, run.stdout + run.stderr
    assert [(row["status"], row["optimizer"]) for row in table(folder)] == [("completed", "adam"), ("completed", "sgd")]


@pytest.mark.skipif(sys.platform != "linux", reason="the second node has an address that only Linux's loopback has")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # Ray forks its nodes from this process, where JAX is
def test_ray_runs_jobs_on_a_cluster_of_two_nodes(run_command, fashion_mnist_root, ray_cluster, mine, tmp_path):
    launcher = ("hydra/launcher=ray", f"+hydra.launcher.ray.init.address={ray_cluster}")
    run = run_command("train.py", "-m", *launcher, *QUICK, *mine, CHOICES, f"hydra.sweep.dir={tmp_path}")
    assert_both_jobs_completed(run, tmp_path)


def test_slurm_runs_jobs_of_its_queue(run_command, fashion_mnist_root, slurm, mine, tmp_path):
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=null")
    run = run_command("train.py", "-m", *launcher, *QUICK, *mine, CHOICES, f"hydra.sweep.dir={tmp_path}", **slurm)
    assert_both_jobs_completed(run, tmp_path)
