"""A run in progress: recorded from its start to its end, however it ends."""

import contextlib
import dataclasses
import logging
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import fashion
from fashion import machine
from fashion.config.nodes import ResolvedConfig
from fashion.data.dataset import Dataset
from fashion.errors import FashionError, InputError, WriteError
from fashion.paths import BENCHMARKS, OUTPUTS
from fashion.runs.folder import RunFolder
from fashion.runs.identity import config_hash
from fashion.runs.result import EndStatus, RunResult
from fashion.runs.run_record import Environment, RunRecord, now

log = logging.getLogger(__name__)


@dataclasses.dataclass
class ActiveRun:
    """A run in progress.

    Attributes:
        folder: Where it writes.
        config: Its resolved configuration.
        overrides: What was set on the command line.
        environment: What it runs with.
        decided: Why ``auto`` became what is in the configuration.
        metrics: Its results, filled in at its end.
        timings: Named durations in seconds.
        started: When, ISO 8601.
        data: Digests of the data, once it is there.
    """

    folder: RunFolder
    config: ResolvedConfig
    overrides: Sequence[str]
    environment: Environment
    decided: str = ""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    timings: dict[str, float] = dataclasses.field(default_factory=dict)
    started: str = dataclasses.field(default_factory=now)
    data: dict[str, str] | None = None

    @contextlib.contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Measure the block as ``timings[name]``."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = round(time.monotonic() - begun, 3)

    def write_record(self) -> None:
        """Write what is known so far of when, where and how the run ran."""
        self.folder.write_record(
            RunRecord(
                **self.environment.model_dump(),
                started=self.started,
                seed=self.config["trainer"]["seed"],
                overrides=self._own_overrides(),
                timings_seconds=self.timings,
                peak_memory_mb=machine.peak_memory_mb(),
                data=self.data,
                decided=self.decided,
            )
        )

    def record_data(self, data: Dataset) -> None:
        """Record the digests of the data, and list the files of it that are left out.

        Raises:
            InputError: When the run is resumed, and the data is not what it was.
        """
        if self.data not in (None, data.digests):
            changed = ", ".join(name for name in data.digests if data.digests[name] != (self.data or {}).get(name))
            raise InputError(
                f"data: the {changed} differ from those that the run to resume was started with; "
                "restore them, or start a new run"
            )
        self.data = data.digests
        self.write_record()
        self.folder.write_skipped(data.skipped)

    def write_result(self, status: EndStatus, error: str | None = None) -> None:
        """Write how the run ended."""
        self.folder.write_result(
            RunResult(
                status=status,
                metrics=self.metrics,
                overrides=self._own_overrides(),
                config_hash=config_hash(self.config),
                error=error,
            )
        )

    def _own_overrides(self) -> list[str]:
        """Return the overrides without the one that resumed the run."""
        return [override for override in self.overrides if not override.startswith("trainer.resume=")]


@contextlib.contextmanager
def recorded(run: ActiveRun) -> Iterator[ActiveRun]:
    """Record a run while the block executes it.

    Args:
        run: The run; the block fills in its metrics.

    Raises:
        FolderBusyError: When another process trains in the same folder.
    """
    folder = run.folder
    with folder.exclusive():
        folder.clear_for_start(overwrite=run.config["trainer"]["overwrite"])
        if run.config["trainer"]["resume"]:
            before = folder.read_record()
            run.data, run.decided = before.data, run.decided or before.decided
        run.write_record()
        try:
            yield run
        except KeyboardInterrupt:
            with contextlib.suppress(WriteError):  # a full disk must not hide that it was stopped
                run.write_result("interrupted", "stopped by a signal")
            log.info("stopped; resume with %s", shlex.quote(f"trainer.resume={folder}"))
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, FashionError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(WriteError):  # nor what went wrong first
                run.write_result("failed", reason)
            raise
        run.write_record()
        run.write_result("completed")
        folder.remove_resume_state()
        point_latest(folder.path)


def seconds_at(moment: float) -> float:
    """Return the seconds from the start of the command to a value of ``time.monotonic()``."""
    return moment - fashion.STARTED


def point_latest(folder: Path) -> None:
    """Point ``outputs/latest`` to a completed run, unless it is a benchmark's or lies elsewhere."""
    folder = folder.resolve()
    outputs = OUTPUTS.resolve()  # it may be a link to a larger disk
    if not folder.is_relative_to(outputs) or folder.is_relative_to(BENCHMARKS.resolve()):
        return
    fresh = outputs / f".latest.{os.getpid()}"
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.relative_to(outputs))
        fresh.replace(outputs / "latest")
    except OSError as error:  # the run is complete without it
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        log.warning(
            "%s cannot be replaced (%s) and does not point to this run",
            outputs / "latest",
            error.strerror,
        )
