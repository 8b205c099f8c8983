"""One job of a sweep in a process of its own, whichever launcher starts it.

Keras can run on one backend in a process, and what a library keeps is freed with its process only. The job is
``scripts/train.py`` as anyone would start it, so that it can be repeated and resumed without the sweep.
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
from omegaconf import DictConfig, OmegaConf

from fashion.config.resume_override import RESULT_FILE, STATE_FILE, quoted
from fashion.config.schema import resolved
from fashion.errors import FolderBusyError
from fashion.files import LOCK_FILE, alone_in, write_json
from fashion.paths import PROJECT
from fashion.runs.identity import config_hash
from fashion.sweeps import cores, manifest

OUTPUT_FILE = "output.log"
OF_A_SWEEP = "FASHION_SWEEP_JOB"  # set in the environment of a job
LOOK_EVERY_SECONDS = 0.1


def in_a_sweep() -> bool:
    """Return whether Hydra is composing a job of a multirun."""
    return HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().job, "num")


def run(cfg: DictConfig) -> None:
    """Run a job of a multirun to its end, and record the end that it could not record itself.

    Args:
        cfg: The job's composed configuration.

    Raises:
        KeyboardInterrupt: When this process was told to stop; the job has stopped too, and can be resumed.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    _wait_until_free(folder)
    if manifest.status(folder) == "completed":
        return
    if (folder / manifest.PRUNE_FILE).exists():  # another seed of its trial was pruned while this one waited
        _record(cfg, folder, "interrupted", "its trial was pruned")
        return
    (folder / RESULT_FILE).unlink(missing_ok=True)
    allowed = _cores(folder.parent, hydra.launcher)
    experiment = {"MLFLOW_EXPERIMENT_NAME": os.environ.get("MLFLOW_EXPERIMENT_NAME", folder.parent.name)}
    with cores.reserved(folder.parent, allowed) as share, (folder / OUTPUT_FILE).open("ab") as output:
        begun = output.tell()
        with _process(
            _command(hydra.overrides.task, folder), output, {**share["environment"], **experiment}
        ) as process:
            cores.bind(process.pid, share["cores"])
            _wait(process, folder, follow=os.getppid() if "Joblib" in str(hydra.launcher.get("_target_")) else None)
    if not manifest.result(folder):
        said = (folder / OUTPUT_FILE).read_bytes()[begun:].decode(errors="replace")
        _record(cfg, folder, "failed", _why(process.returncode, said))


def _command(overrides: Sequence[str], folder: Path) -> list[str]:
    """Return the command that starts a job, or goes on with it after its last finished epoch."""
    program = [sys.executable, str(PROJECT / "scripts" / "train.py")]
    if (folder / STATE_FILE).is_file():
        return [*program, f"trainer.resume={folder}"]
    return [*program, *overrides, f"hydra.run.dir={quoted(folder)}"]


def follow_parent() -> None:
    """In a job: end with the process that started it, however that ends. Its end closes our standard input."""

    def wait_for_the_end() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)  # as a power cut would: the state of the last epoch is on the disk

    if os.environ.pop(OF_A_SWEEP, None):
        threading.Thread(target=wait_for_the_end, daemon=True).start()


def _wait_until_free(folder: Path) -> None:
    """Wait while a process of an earlier sweep is training in a folder: jobs of Slurm outlive a killed sweep."""
    while (folder / LOCK_FILE).exists():
        try:
            with alone_in(folder):
                return
        except FolderBusyError:
            time.sleep(LOOK_EVERY_SECONDS)


@contextlib.contextmanager
def _process(command: list[str], output: object, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a job; when the block is left early, stop the job after its current step, at once the second time."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # nothing is ever written to it: see follow_parent
        stdout=output,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment, OF_A_SWEEP: "1"},
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


def _wait(process: subprocess.Popen[bytes], folder: Path, follow: int | None) -> None:
    """Wait for the job's end.

    Args:
        process: The job.
        folder: Its folder, where the search may ask for its end.
        follow: The process id of the sweep, if it is this process's parent: a worker of joblib outlives it.
    """
    asked = False
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_EVERY_SECONDS)
        if not asked and (folder / manifest.PRUNE_FILE).exists():
            asked = True
            process.send_signal(signal.SIGTERM)
        if follow is not None and os.getppid() != follow:
            process.kill()
            process.wait()
            os._exit(1)


def _cores(sweep: Path, launcher: DictConfig) -> int | None:
    """Return how many cores a job of a sweep may use: what the sweep was told, or its launcher's share."""
    found = manifest.read(sweep)
    if found is None:
        return None
    return found.search.get("cores_per_job") or cores.per_job(launcher, len(found.jobs))


def _why(status: int, said: str) -> str:
    """Say in a line why a job ended that could not say so in its ``result.json``."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1].removeprefix("error: ")
    if status < 0:
        name = signal.Signals(-status).name
        memory = "; the system kills so when memory runs out" if name == "SIGKILL" else ""
        return f"the process was killed by {name}{memory}"
    return f"the process ended with status {status}: {lines[-1] if lines else 'it said nothing'}"


def _record(cfg: DictConfig, folder: Path, status: manifest.Status, error: str) -> None:
    content: dict[str, Any] = {
        "status": status,
        "metrics": {},
        "overrides": list(HydraConfig.get().overrides.task),
        "config_hash": config_hash(resolved(cfg)),
        "error": " ".join(error.split()),
    }
    write_json(folder / RESULT_FILE, content)
