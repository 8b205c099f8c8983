"""A sweep on disk: ``sweep.json`` says which jobs it has; each job's folder says how far it is."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from fashion.config.resume_override import RESULT_FILE
from fashion.errors import InputError
from fashion.files import write_json
from fashion.runs.identity import differences

PLAN_FILE = "sweep.json"
PRUNE_FILE = "prune"  # in a job's folder: the search asks for its end
SEED = "trainer.seed"

Status = Literal["waiting", "running", "completed", "failed", "interrupted", "pruned"]
Objective = Literal["val_accuracy", "val_loss"]
ENDED: tuple[Status, ...] = ("completed", "failed", "interrupted", "pruned")


@dataclasses.dataclass
class Job:
    """One run of a sweep.

    Attributes:
        number: The name of its folder.
        overrides: ``key=value``, as Hydra reads them.
        config: Its configuration, of what changes a result.
        trial: Which trial of a search it belongs to.
    """

    number: int
    overrides: list[str]
    config: dict[str, Any]
    trial: int | None = None

    def folder(self, sweep: Path) -> Path:
        """Return where it writes."""
        return sweep / str(self.number)


@dataclasses.dataclass
class Plan:
    """What a sweep was started with, and its jobs so far.

    Attributes:
        arguments: The overrides that it was started with, of jobs and of the search.
        search: The settings of ``hparams_search``.
        jobs: In the order of their numbers.
    """

    arguments: list[str]
    search: dict[str, Any]
    jobs: list[Job] = dataclasses.field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        write_json(folder / PLAN_FILE, dataclasses.asdict(self))

    @property
    def objective(self) -> Objective:
        """What the best job is best at."""
        return self.search["objective"]


def read(folder: Path) -> Plan | None:
    """Read a sweep's plan; None where there is none.

    Raises:
        InputError: When the file is damaged.
    """
    path = folder / PLAN_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Plan(content["arguments"], content["search"], [Job(**job) for job in content["jobs"]])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged ({error}); its jobs' folders are whole, start a new sweep") from None


def refuse_other_arguments(stored: Sequence[str], given: Sequence[str]) -> None:
    """Refuse to go on with a sweep whose command line was another.

    Raises:
        InputError: Naming the first key that differs.
    """
    before, now = (dict(argument.split("=", 1) for argument in arguments) for arguments in (stored, given))
    for key, old, new in differences(before, now):
        if key not in {"sweep.resume", "sweep.trials", "sweep.cores_per_job", "sweep.concurrency"}:
            got, had = ("nothing" if value is None else value for value in (new, old))
            raise InputError(f"{key}: got {got}, but the sweep to resume has {had}; leave it as it was")


def refuse_other_configurations(stored: Sequence[Job], given: Sequence[Job]) -> None:
    """Refuse to go on with jobs that would compute something else: a yaml or a default was changed meanwhile.

    Raises:
        InputError: Naming the first key that differs.
    """
    for before, now in zip(stored, given, strict=False):
        for key, old, new in differences(before.config, now.config):
            raise InputError(
                f"{key}: got {new!r} for job {now.number}, but the sweep to resume has {old!r}; "
                "leave it as it was, or start a new sweep"
            )
    if len(stored) > len(given):
        raise InputError(f"the sweep to resume has {len(stored)} jobs, now they would be {len(given)}")


def result(folder: Path) -> dict[str, Any]:
    """Read a job's ``result.json``; empty while it has none."""
    try:
        return dict(json.loads((folder / RESULT_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def reason(found: dict[str, Any]) -> str | None:
    """Return what went wrong according to a ``result.json``."""
    error = found.get("error")
    return error and str(error).removeprefix("FashionError: ")  # written by releases before 1.0


def status(folder: Path) -> Status:
    """Return how a job is doing, by what its folder holds; a job that was killed counts as running."""
    found = result(folder).get("status")
    if found in {"interrupted", None} and (folder / PRUNE_FILE).exists():
        return "pruned" if found or not (folder / ".hydra").exists() else "running"
    if found in ENDED:
        return found
    return "running" if (folder / ".hydra").exists() else "waiting"
