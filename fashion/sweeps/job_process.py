"""One job of a sweep in a process of its own, under any launcher.

A process runs Keras on one backend only, and what a library caches is freed only when its process ends. The job is
``scripts/train.py`` as a user would start it, so that it can be repeated and resumed without the sweep.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fashion.backend import process_group
from fashion.config.nodes import has_target
from fashion.config.override_text import quote_path
from fashion.config.schema import resolved
from fashion.config.sources import source_arguments
from fashion.errors import FolderBusyError
from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder
from fashion.runs.identity import config_hash
from fashion.runs.result import EndStatus, RunResult
from fashion.sweeps import cores, launchers
from fashion.sweeps.manifest import SweepManifest

JOB_VARIABLE = "FASHION_SWEEP_JOB"  # set in the environment of a job
POLL_SECONDS = 0.1
PRUNED = "its trial was pruned"


def run(cfg: DictConfig) -> None:
    """Run a job of a multirun to its end, and record its end where it could not do so itself.

    Args:
        cfg: The job's composed configuration.

    Raises:
        KeyboardInterrupt: When this process is to stop; the job has stopped too, and can be resumed.
    """
    hydra: Any = HydraConfig.get()  # a DictConfig, which Hydra declares as what it is validated against
    folder = RunFolder(Path(hydra.runtime.output_dir))
    sweep = folder.path.parent
    _wait_until_free(folder)
    if folder.status() == "completed":
        return
    if folder.prune_requested:  # another seed of its trial was pruned while this one waited
        _record(cfg, folder, "interrupted", PRUNED)
        return
    folder.remove_result()
    experiment = {"MLFLOW_EXPERIMENT_NAME": os.environ.get("MLFLOW_EXPERIMENT_NAME", sweep.name)}
    with cores.reserve_cores(sweep, _cores(sweep, hydra.launcher)) as share, folder.output.open("ab") as output:
        begun = output.tell()
        environment = {**share.environment, **experiment}
        arguments = [*hydra.overrides.task, *source_arguments(hydra)]
        with _process(_command(arguments, folder), output, environment) as process:
            cores.bind(process.pid, share.cores)
            _wait(process, folder, follow=os.getppid() if has_target(hydra.launcher, launchers.JOBLIB) else None)
    if not folder.read_result():
        printed = folder.output.read_bytes()[begun:].decode(errors="replace")
        _record(cfg, folder, *_end(folder, process.returncode, printed))


def exit_with_parent() -> None:
    """End this process, if it is a sweep's job, when the one that started it ends: that closes our standard input."""

    def wait_for_the_end() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)  # as in a power cut: the state of the last epoch is on disk

    if os.environ.pop(JOB_VARIABLE, None):
        threading.Thread(target=wait_for_the_end, daemon=True).start()


def _command(arguments: Sequence[str], folder: RunFolder) -> list[str]:
    """Return the command that starts a job, or resumes it after its last finished epoch."""
    program = [sys.executable, str(PROJECT / "scripts" / "train.py")]
    # A model without a state is that of a run without epochs, which was stopped before it was evaluated.
    if folder.resume_state.is_file() or folder.model.is_file():
        return [*program, f"trainer.resume={folder}"]
    return [*program, *arguments, f"hydra.run.dir={quote_path(folder.path)}"]


def _wait_until_free(folder: RunFolder) -> None:
    """Wait while a process of an earlier sweep is training in a folder: jobs of Slurm outlive a killed sweep."""
    while True:
        try:
            folder.refuse_if_busy()
        except FolderBusyError:
            time.sleep(POLL_SECONDS)
        else:
            return


@contextlib.contextmanager
def _process(command: list[str], output: object, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a job; when the block is left early, stop the job after its current step, at once the second time."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # nothing is ever written to it: see exit_with_parent
        stdout=output,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment, **process_group.ALONE, JOB_VARIABLE: "1"},
        start_new_session=True,  # Ctrl-C reaches this process alone, which then passes it on once
    )
    try:
        yield process
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            process.wait()
        except KeyboardInterrupt:
            process.kill()
            process.wait()
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()


def _wait(process: subprocess.Popen[bytes], folder: RunFolder, follow: int | None) -> None:
    """Wait for the job's end.

    Args:
        process: The job.
        folder: Its folder, where the search may request its end.
        follow: The process id of the sweep, if it is this process's parent: a worker of joblib outlives it.
    """
    stopping = False
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
        if not stopping and folder.prune_requested:
            stopping = True
            process.send_signal(signal.SIGTERM)
        if follow is not None and os.getppid() != follow:
            process.kill()
            process.wait()
            os._exit(1)


def _cores(sweep: Path, launcher: DictConfig) -> int | None:
    """Return how many cores a job of a sweep may use: as configured, or its launcher's share."""
    manifest = SweepManifest.read(sweep)
    if manifest is None:
        return None
    return manifest.cores_per_job or cores.cores_per_job(launcher, len(manifest.jobs))


def _end(folder: RunFolder, exit_status: int, printed: str) -> tuple[EndStatus, str]:
    """Return how a job ended that could not record it, and why."""
    if folder.prune_requested:  # it had not begun to train
        return "interrupted", PRUNED
    return "failed", _reason(exit_status, printed)


def _reason(exit_status: int, printed: str) -> str:
    """Explain in one line why a job ended that could not record its own result."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1].removeprefix("error: ")
    if exit_status < 0:
        name = signal.Signals(-exit_status).name
        memory = "; the system sends it when memory runs out" if name == "SIGKILL" else ""
        return f"the process was killed by {name}{memory}"
    return f"the process exited with status {exit_status}: {lines[-1] if lines else 'it printed nothing'}"


def _record(cfg: DictConfig, folder: RunFolder, status: EndStatus, error: str) -> None:
    overrides = list(HydraConfig.get().overrides.task)
    folder.write_result(
        RunResult(status=status, overrides=overrides, config_hash=config_hash(resolved(cfg)), error=error)
    )
