"""``run.json``: when a run started, and the software and hardware that its numbers depend on."""

import datetime
import functools
import subprocess
import sys
from pathlib import Path

import pydantic

from fashion import machine
from fashion.paths import PROJECT

PACKAGES = ("keras", "jax", "jaxlib", "tensorflow", "tensorflow-cpu", "numpy", "hydra-core", "omegaconf")


class GitState(pydantic.BaseModel):
    """The commit of the checkout, and whether its files differed from it."""

    commit: str
    modified: bool

    def __str__(self) -> str:
        return f"{self.commit} (modified)" if self.modified else self.commit


class Environment(pydantic.BaseModel):
    """The software and hardware that numbers depend on.

    Attributes:
        backend: Keras's.
        device: What it computed on, as ``cpu:0``.
        versions: Package to version.
        hardware: Processor, cores, memory and system.
        git: None outside of a checkout.
        command: The program's name and its arguments.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    backend: str = ""
    device: str = ""
    versions: dict[str, str] = {}
    hardware: machine.Hardware = {}
    git: GitState | None = None
    command: list[str] = []


class RunRecord(Environment):
    """When, where and how a run ran; records of earlier releases may lack entries.

    Attributes:
        started: When, ISO 8601.
        seed: The run's seed.
        overrides: What was set on the command line; None in records of release 1.0.
        timings_seconds: What took how long: ``start_up``, ``linear_probe``, ``training`` (with that), ``evaluation``,
            ``total``; what did not happen is left out.
        peak_memory_mb: The most memory that its process had.
        data: Digests of the data that it reads, once that is known.
        decided: Why ``auto`` became what is in the configuration; empty if it had no such value.
    """

    started: str = ""
    seed: int | None = None
    overrides: list[str] | None = None
    timings_seconds: dict[str, float] = {}
    peak_memory_mb: float | None = None
    data: dict[str, str] | None = None
    decided: str = ""


def environment(backend: str, device: str) -> Environment:
    """Return the environment of this process.

    Args:
        backend: The Keras backend it runs on.
        device: What that computes on.
    """
    return Environment(
        backend=backend,
        device=device,
        versions=machine.versions(PACKAGES),
        hardware=machine.hardware(),
        git=git_state(),
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
    )


def now() -> str:
    """Return the time with its zone, ISO 8601."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


@functools.cache  # as it was when the process began: it runs that code, whatever is committed meanwhile
def git_state() -> GitState | None:
    """Return the state of the checkout; None outside of one, or without git."""
    try:
        return GitState(commit=_git("rev-parse", "HEAD"), modified=bool(_git("status", "--porcelain")))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=PROJECT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return result.stdout.strip()
