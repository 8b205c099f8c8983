"""What a run leaves behind beside its model: ``run.json``, ``result.json`` and ``outputs/latest``."""

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
from hydra.core.hydra_config import HydraConfig

import fashion
from fashion.config.command import OUTPUTS, PROJECT
from fashion.errors import FashionError
from fashion.files import write_json
from fashion.training import resume

log = logging.getLogger(__name__)

RESULT_FILE, RUN_FILE = "result.json", "run.json"
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
                "peak_memory_mb": peak_memory_mb(),
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
        FashionError: When another process is running in the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        if config["trainer"]["resume"] is None:
            resume.remove(folder)  # of an earlier run that was given the same folder
        (folder / RESULT_FILE).unlink(missing_ok=True)
        run = Run(folder, config)
        run.write()
        try:
            yield run
        except KeyboardInterrupt:
            _write_result(run, "interrupted", "stopped by a signal")
            log.info("stopped; go on with trainer.resume=%s", folder)
            raise
        except Exception as error:
            with contextlib.suppress(FashionError):  # a full disk must not hide what went wrong first
                _write_result(run, "failed", f"{type(error).__name__}: {error}")
            raise
        run.write()
        _write_result(run, "completed")
        resume.remove(folder)
        point_latest(folder)


def config_hash(config: dict[str, Any]) -> str:
    """Return a digest of what a run computes: equal for the same configuration in another folder, or resumed."""
    return hashlib.sha256(json.dumps(comparable(config), sort_keys=True).encode()).hexdigest()[:16]


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without what does not change a run's result: its folder, and that it was resumed.

    Paths inside the run's folder stand relative to it.
    """
    text = json.dumps({key: value for key, value in config.items() if key != "run_folder"})
    content = json.loads(text.replace(json.dumps(config["run_folder"])[1:-1] + "/", ""))
    content["trainer"].pop("resume")
    return content


def environment() -> dict[str, Any]:
    """Return the software and hardware that numbers depend on."""
    return {
        "backend": keras.backend.backend(),
        "device": ", ".join(keras.distribution.list_devices()),
        "versions": {"python": platform.python_version(), **_versions()},
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.platform(),
        },
        "git": git_commit(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def now() -> str:
    """Return the time with its zone, as ISO 8601 writes it."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def git_commit() -> dict[str, Any] | None:
    """Return the commit of the checkout and whether files differ from it; None outside of one or without git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_memory_mb() -> float:
    """Return the most resident memory this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB, on macOS bytes
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def seconds_at(moment: float) -> float:
    """Return the seconds from the start of the command to a value of ``time.monotonic()``."""
    return moment - fashion.STARTED


def point_latest(folder: Path) -> None:
    """Let ``outputs/latest`` point to a completed run; a run told to write elsewhere leaves it alone."""
    folder = folder.resolve()
    if not folder.is_relative_to(OUTPUTS):
        return
    fresh = OUTPUTS / f".latest.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.relative_to(OUTPUTS))
    fresh.replace(OUTPUTS / "latest")


def _write_result(run: Run, status: str, error: str | None = None) -> None:
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    content = {
        "status": status,
        "metrics": run.metrics,
        "overrides": overrides,
        "config_hash": config_hash(run.config),
    }
    if error is not None:
        content["error"] = " ".join(error.split())
    write_json(run.folder / RESULT_FILE, content)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FashionError(f"{folder}: another process is training there; wait for it or stop it") from None
        yield


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=PROJECT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return result.stdout.strip()
