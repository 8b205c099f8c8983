"""What a run leaves behind beside its model: ``run.json``, ``result.json`` and ``outputs/latest``."""

import contextlib
import dataclasses
import datetime
import functools
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
from hydra.core.hydra_config import HydraConfig

import fashion
from fashion import machine
from fashion.backend.devices import describe_devices
from fashion.config.resume_override import RESULT_FILE, STATE_FILE
from fashion.errors import FashionError, WriteError
from fashion.files import alone_in, write_json
from fashion.paths import BENCHMARKS, OUTPUTS, PROJECT
from fashion.runs.identity import config_hash

log = logging.getLogger(__name__)

RUN_FILE = "run.json"
PACKAGES = ("keras", "jax", "jaxlib", "tensorflow", "tensorflow-cpu", "numpy", "hydra-core", "omegaconf")


@dataclasses.dataclass
class Run:
    """A run in progress.

    Attributes:
        folder: Where it writes.
        config: Its resolved configuration.
        metrics: Filled in at its end, for ``result.json``.
        timings: Named durations in seconds, for ``run.json``.
        started: When.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    timings: dict[str, float] = dataclasses.field(default_factory=dict)
    started: str = dataclasses.field(default_factory=lambda: now())

    @contextlib.contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Measure the block as ``timings[name]``."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = round(time.monotonic() - begun, 3)

    def write(self) -> None:
        """Write ``run.json``: what is known so far of how and where the run runs."""
        write_json(
            self.folder / RUN_FILE,
            {
                "started": self.started,
                **environment(),
                "seed": self.config["trainer"]["seed"],
                "timings_seconds": self.timings,
                "peak_memory_mb": machine.peak_memory_mb(),
            },
        )


@contextlib.contextmanager
def running(folder: Path, config: dict[str, Any]) -> Iterator[Run]:
    """Record a run from its start to whichever end.

    Args:
        folder: The run's folder.
        config: Its resolved configuration.

    Yields:
        The run, whose metrics the block fills in.

    Raises:
        InputError: When another process is running in the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        (folder / RESULT_FILE).unlink(missing_ok=True)
        for partial in folder.glob(".*.partial*"):  # of a process that was killed while it wrote
            partial.unlink(missing_ok=True)
        run = Run(folder, config)
        run.write()
        try:
            yield run
        except KeyboardInterrupt:
            _write_result(run, "interrupted", "stopped by a signal")
            log.info("stopped; go on with %s", shlex.quote(f"trainer.resume={folder}"))
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, FashionError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(WriteError):  # a full disk must not hide what went wrong first
                _write_result(run, "failed", reason)
            raise
        run.write()
        _write_result(run, "completed")
        (folder / STATE_FILE).unlink(missing_ok=True)
        point_latest(folder)


def environment() -> dict[str, Any]:
    """Return the software and hardware that numbers depend on."""
    return {
        "backend": keras.backend.backend(),
        "device": describe_devices(),
        "versions": machine.versions(PACKAGES),
        "hardware": machine.hardware(),
        "git": git_commit(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def now() -> str:
    """Return the time with its zone, as ISO 8601 writes it."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


@functools.cache  # as it was when the process began: it runs that code, whatever is committed meanwhile
def git_commit() -> dict[str, Any] | None:
    """Return the commit of the checkout and whether files differ from it; None outside of one or without git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def seconds_at(moment: float) -> float:
    """Return the seconds from the start of the command to a value of ``time.monotonic()``."""
    return moment - fashion.STARTED


def point_latest(folder: Path) -> None:
    """Let ``outputs/latest`` point to a completed run, unless it was a benchmark's or told to write elsewhere."""
    folder = folder.resolve()
    outputs = OUTPUTS.resolve()  # it may be a link to a larger disk
    if not folder.is_relative_to(outputs) or folder.is_relative_to(BENCHMARKS.resolve()):
        return
    fresh = outputs / f".latest.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.relative_to(outputs))
    fresh.replace(outputs / "latest")


def _write_result(run: Run, status: str, error: str | None = None) -> None:
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    content = {
        "status": status,
        "metrics": run.metrics,
        "overrides": [override for override in overrides if not override.startswith("trainer.resume=")],
        "config_hash": config_hash(run.config),
    }
    if error is not None:
        content["error"] = " ".join(error.split())
    write_json(run.folder / RESULT_FILE, content)


def _git(*arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=PROJECT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return result.stdout.strip()
