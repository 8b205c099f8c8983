import contextlib
import os
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from fashion.sweeps import cores
from fashion.sweeps.cores import CoreShare

JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
RAY = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"


@pytest.mark.parametrize(
    ("launcher", "jobs", "expected"),
    [
        ({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}, 9, None),
        ({"_target_": JOBLIB, "n_jobs": 2}, 9, 4),
        ({"_target_": JOBLIB, "n_jobs": -1}, 9, 1),
        ({"_target_": JOBLIB, "n_jobs": -1}, 2, 4),
        ({"_target_": JOBLIB, "n_jobs": 3}, 9, 2),
        ({"_target_": JOBLIB, "n_jobs": 1}, 9, 8),
        ({"_target_": JOBLIB, "n_jobs": 99}, 99, 1),
        ({"_target_": RAY, "ray": {"remote": {}}}, 9, 1),
        ({"_target_": RAY, "ray": {"remote": {"num_cpus": 3}}}, 9, 3),
        ({"_target_": SLURM, "cpus_per_task": 4}, 9, 4),
        ({"_target_": SLURM, "cpus_per_task": None}, 9, 1),
    ],
)
def test_the_cores_of_a_machine_are_divided(monkeypatch, launcher, jobs, expected):
    monkeypatch.setattr(cores, "available_cores", lambda: list(range(8)))
    assert cores.cores_per_job(OmegaConf.create(launcher), jobs) == expected


def test_jobs_of_one_machine_get_cores_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "available_cores", lambda: [2, 3, 6, 7])
    with contextlib.ExitStack() as stack:
        shares = [stack.enter_context(cores.reserve_cores(tmp_path, 2)) for _ in range(3)]
        assert [share.cores for share in shares] == [[2, 3], [6, 7], []]
        assert shares[2].environment["OMP_NUM_THREADS"] == "2"
    with cores.reserve_cores(tmp_path, 2) as share:  # given back
        assert share.cores == [2, 3]
    with cores.reserve_cores(tmp_path, None) as share:
        assert share == CoreShare([], {})


THREADS = """
import os, time, jax
jax.jit(lambda x: x @ x)(jax.numpy.ones((512, 512))).block_until_ready()
print(len(os.sched_getaffinity(0)), len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(cores.available_cores()) < 2, reason="there is nothing to bind"
)
@pytest.mark.process
def test_a_process_that_is_bound_starts_fewer_threads():
    threads = []
    for place in (cores.available_cores()[:1], []):
        process = subprocess.Popen([sys.executable, "-c", THREADS], stdout=subprocess.PIPE, text=True)
        cores.bind(process.pid, place)
        allowed, count = map(int, process.communicate(timeout=120)[0].split())
        assert allowed == (1 if place else len(cores.available_cores()))
        threads.append(count)
    assert threads[0] < threads[1]


@pytest.mark.process
def test_binding_a_process_that_has_ended_is_no_error():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    cores.bind(process.pid, cores.available_cores()[:1])
