"""A sweep on disk: ``sweep.json`` lists its jobs; each job's folder says how far it is."""

import collections
import dataclasses
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fashion.config.arguments import key_of
from fashion.config.nodes import ResolvedConfig
from fashion.config.renames import upgrade_config, upgrade_overrides
from fashion.errors import InputError
from fashion.files import write_json
from fashion.runs.folder import RunFolder, RunStatus
from fashion.runs.identity import differences

MANIFEST_FILE = "sweep.json"
SEED, FOLD = "trainer.seed", "data.fold"
# What jobs of one setting differ in, and what it is called when results are averaged over it.
REPLICATED = {FOLD: "folds", SEED: "seeds"}

Objective = Literal["val_accuracy", "val_loss"]
ENDED: tuple[RunStatus, ...] = ("completed", "failed", "interrupted", "pruned")
# Settings of a search that may change when a sweep is resumed.
FREE_SETTINGS = {"sweep.resume", "sweep.trials", "sweep.cores_per_job", "sweep.concurrency"}


@dataclasses.dataclass
class SweepJob:
    """One run of a sweep.

    Attributes:
        number: The name of its folder.
        overrides: ``key=value``, as Hydra reads them.
        config: The part of its configuration that changes a result.
        trial: The trial of a search that it belongs to.
        same_as: The number of an earlier job with the same configuration, whose result is this one's: it does not run.
    """

    number: int
    overrides: list[str]
    config: ResolvedConfig
    trial: int | None = None
    same_as: int | None = None

    def folder(self, sweep: Path) -> RunFolder:
        """Return where its result is: where it writes, or where the job writes whose result it has."""
        return RunFolder(sweep / str(self.number if self.same_as is None else self.same_as))


@dataclasses.dataclass
class SweepManifest:
    """What a sweep was started with, and its jobs so far.

    Attributes:
        arguments: The overrides that it was started with, those of its search included.
        sources: The arguments that chose its configuration files; empty for the project's own.
        search: The settings of ``hparams_search``.
        jobs: In the order of their numbers.
        launcher: The arguments that chose and configured its launcher.
        identity: What tells it from other sweeps that share its study.
    """

    arguments: list[str]
    search: ResolvedConfig
    jobs: list[SweepJob] = dataclasses.field(default_factory=list)
    sources: list[str] = dataclasses.field(default_factory=list)
    launcher: list[str] = dataclasses.field(default_factory=list)
    identity: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def read(cls, folder: Path) -> "SweepManifest | None":
        """Read the manifest of a sweep's folder; None where there is none.

        Raises:
            InputError: When the file is damaged.
        """
        path = folder / MANIFEST_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            jobs = [_stored_job(**job) for job in content["jobs"]]
            arguments = upgrade_overrides(content["arguments"])
            identity = content.get("identity", folder.name)  # as earlier releases identified a sweep
            launcher = content.get("launcher", [])
            return cls(arguments, content["search"], jobs, content.get("sources", []), launcher, identity)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: is damaged ({error}); the jobs' folders are intact, start a new sweep") from None

    def write(self, folder: Path) -> None:
        """Write the manifest into a sweep's folder, whole or not at all."""
        write_json(folder / MANIFEST_FILE, dataclasses.asdict(self))

    @property
    def objective(self) -> Objective:
        """The metric that the best job is best in."""
        objective: Objective = self.search["objective"]
        return objective

    @property
    def cores_per_job(self) -> int | None:
        """How many cores each job may use, where the search's settings say so."""
        cores: int | None = self.search.get("cores_per_job")
        return cores

    @property
    def planned_jobs(self) -> int:
        """How many jobs the search is to run in all; 0 where that follows from the choices."""
        jobs_of_trials = collections.Counter(job.trial for job in self.jobs if job.trial is not None)
        per_trial = max([int(self.search.get("repeats", 1)), *jobs_of_trials.values()])
        return int(self.search.get("trials", 0)) * per_trial


def _stored_job(
    number: int,
    overrides: list[str],
    config: ResolvedConfig,
    trial: int | None = None,
    same_as: int | None = None,
) -> SweepJob:
    return SweepJob(number, upgrade_overrides(overrides), upgrade_config(config), trial, same_as)


def refuse_other_arguments(stored: Sequence[str], given: Sequence[str]) -> None:
    """Refuse to resume a sweep with another command line.

    Raises:
        InputError: Naming the first key that differs.
    """
    before, now = ({key_of(argument): _value(argument) for argument in arguments} for arguments in (stored, given))
    for key, old, new in differences(before, now):
        if key not in FREE_SETTINGS:
            got, had = ("nothing" if value is None else value for value in (new, old))
            raise InputError(f"{key}: got {got}, but the sweep to resume has {had}; leave it as it was")


def _value(argument: str) -> str:
    return argument if argument.startswith("~") else argument.partition("=")[2]


def refuse_other_configurations(stored: Sequence[SweepJob], given: Sequence[SweepJob]) -> None:
    """Refuse to resume jobs that would now compute something else, because a yaml or a default has changed.

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
        raise InputError(f"the sweep to resume has {len(stored)} jobs, but this command line makes {len(given)}")
