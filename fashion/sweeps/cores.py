"""Divide the cores of a machine among the jobs that run on it at once.

Two trainings that each start a thread for every core slow each other down. Here each job is bound to cores of its own;
JAX and TensorFlow start as many threads as a process may use cores.
"""

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from fashion.config.nodes import has_target
from fashion.machine import available_cores
from fashion.sweeps import launchers


class CoreShare(NamedTuple):
    """What a job may use of its machine.

    Attributes:
        cores: The cores to bind it to; empty where the system cannot, or the job may use all.
        environment: Environment variables that limit numerical libraries likewise.
    """

    cores: list[int]
    environment: dict[str, str]


def concurrent_jobs(launcher: DictConfig) -> int:
    """Return how many jobs a launcher of Hydra runs at once on this machine, as far as this machine decides it."""
    if not has_target(launcher, launchers.JOBLIB):
        return 1
    workers = int(launcher.get("n_jobs") or 1)  # as joblib counts: -1 is all cores, -2 all but one
    return max(1, workers if workers > 0 else len(available_cores()) + 1 + workers)


def cores_per_job(launcher: DictConfig, jobs: int) -> int | None:
    """Return how many cores a job may use under a launcher; None where the launcher does not divide them.

    Args:
        launcher: Hydra's ``hydra.launcher``.
        jobs: How many the sweep has.
    """
    if has_target(launcher, launchers.JOBLIB):
        return max(1, len(available_cores()) // min(concurrent_jobs(launcher), jobs))
    if has_target(launcher, *launchers.RAY):
        return int(OmegaConf.select(launcher, "ray.remote.num_cpus", default=None) or 1)  # Ray's own default
    if has_target(launcher, launchers.SLURM):
        return int(launcher.get("cpus_per_task") or 1)
    return None


@contextlib.contextmanager
def reserve_cores(sweep: Path, cores: int | None) -> Iterator[CoreShare]:
    """Reserve some cores of this machine for a job while the block runs.

    Args:
        sweep: The sweep's folder; the jobs of one sweep divide the cores among themselves.
        cores: How many; None for all.

    Yields:
        The job's share.
    """
    available = available_cores()
    if cores is None or cores >= len(available):
        yield CoreShare([], {})
        return
    environment = {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)}
    slots = [available[start : start + cores] for start in range(0, len(available) - cores + 1, cores)]
    with contextlib.ExitStack() as stack:
        for slot in slots:
            lock = stack.enter_context(_lock_file(sweep, slot[0]).open("ab"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield CoreShare(slot, environment)
            return
        yield CoreShare([], environment)  # more jobs than slots: the system shares the cores


def bind(process: int, cores: list[int]) -> None:
    """Restrict a process that has just started to some cores."""
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # it has ended already
            os.sched_setaffinity(process, cores)


def _lock_file(sweep: Path, core: int) -> Path:
    path = sweep / ".cores" / f"{platform.node()}-{core}"
    path.parent.mkdir(exist_ok=True)
    return path
