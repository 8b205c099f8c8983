"""Divide the cores of a machine among the jobs that run on it at a time.

Two trainings that each start a thread for every core wait for one another. Here each job is bound to cores of its own;
JAX and TensorFlow start as many threads as a process may use cores.
"""

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf


def visible() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def jobs_at_a_time(launcher: DictConfig) -> int:
    """Return how many jobs a launcher of Hydra runs at a time on this machine, as far as this machine decides it."""
    if "Joblib" not in str(launcher.get("_target_")):
        return 1
    asked = int(launcher.get("n_jobs") or 1)  # as joblib counts: -1 is all cores, -2 all but one
    return max(1, asked if asked > 0 else len(visible()) + 1 + asked)


def per_job(launcher: DictConfig, jobs: int) -> int | None:
    """Return how many cores a job may use under a launcher; None when whoever starts it sees to that.

    Args:
        launcher: Hydra's ``hydra.launcher``.
        jobs: How many the sweep has.
    """
    kind = str(launcher.get("_target_"))
    if "Joblib" in kind:
        return max(1, len(visible()) // min(jobs_at_a_time(launcher), jobs))
    if "Ray" in kind:
        return int(OmegaConf.select(launcher, "ray.remote.num_cpus", default=None) or 1)  # Ray's own default
    if "Slurm" in kind:
        return int(launcher.get("cpus_per_task") or 1)
    return None


@contextlib.contextmanager
def reserved(sweep: Path, cores: int | None) -> Iterator[dict[str, Any]]:
    """Keep some cores of this machine for a job while the block runs.

    Args:
        sweep: The sweep's folder; the jobs of one sweep divide the cores among themselves.
        cores: How many; None for all.

    Yields:
        ``cores``, those to bind the job to (empty where the system cannot, or all are free), and ``environment``, what
        tells numerical libraries the same.
    """
    here = visible()
    if cores is None or cores >= len(here):
        yield {"cores": [], "environment": {}}
        return
    environment = {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)}
    places = [here[start : start + cores] for start in range(0, len(here) - cores + 1, cores)]
    with contextlib.ExitStack() as stack:
        for place in places:
            lock = stack.enter_context(_lock_file(sweep, place[0]).open("ab"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield {"cores": place, "environment": environment}
            return
        yield {"cores": [], "environment": environment}  # more jobs than places: the system shares the cores


def bind(process: int, cores: list[int]) -> None:
    """Let a process that has just started use some cores only."""
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # it is gone already
            os.sched_setaffinity(process, cores)


def _lock_file(sweep: Path, core: int) -> Path:
    path = sweep / ".cores" / f"{platform.node()}-{core}"
    path.parent.mkdir(exist_ok=True)
    return path
