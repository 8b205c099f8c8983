"""The results of a sweep: one table of its jobs, averages over folds and seeds, and the effect of each key."""

import csv
import dataclasses
import io
import math
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path

from fashion.config.renames import upgrade_overrides
from fashion.errors import InputError
from fashion.runs.folder import RunFolder, RunStatus, job_folders
from fashion.sweeps.manifest import ENDED, MANIFEST_FILE, REPLICATED, SEED, Objective, SweepJob, SweepManifest
from fashion.sweeps.out_of_fold import FoldJob, OutOfFold, gather

METRICS = ("val_accuracy", "val_loss", "test_accuracy", "test_loss")
# Shown beside each accuracy where classes are unequal: elsewhere they are equal to it.
MACRO_METRICS = {"val_accuracy": "val_macro_accuracy", "test_accuracy": "test_macro_accuracy"}
MACRO_TOLERANCE = 1e-9  # both are sums of shares, rounded in different orders
# Of all folds together: the column in sweep.csv, and its value.
OUT_OF_FOLD_METRICS = {"out_of_fold_accuracy": "accuracy", "out_of_fold_macro_accuracy": "macro_accuracy"}


@dataclasses.dataclass
class JobRow:
    """One job.

    Attributes:
        number: The name of its folder.
        status: How it is doing, or how it ended.
        overrides: As they were given.
        choices: Key to value, of all its overrides.
        metrics: Its results; empty before its end.
        history: Metric to its value after each epoch.
        seconds: Spent training.
        memory_mb: The most memory that its process had.
        error: Why it is not completed, in one line.
        trial: The trial of a search that it belongs to.
        same_as: The number of the job whose result it has; it did not run itself.
        fold: Its part in cross-validation; None where there is none.
    """

    number: int
    status: RunStatus
    overrides: list[str]
    choices: dict[str, str]
    metrics: dict[str, float]
    history: dict[str, list[float]]
    seconds: float
    memory_mb: float | None
    error: str | None
    trial: int | None
    same_as: int | None
    fold: FoldJob | None


@dataclasses.dataclass
class ReplicateGroup:
    """The jobs that differ only in fold and seed.

    Attributes:
        choices: Varying key to value.
        rows: Its jobs.
        mean: Metric to its mean over the completed jobs.
        deviation: Metric to its standard deviation; None for fewer than two jobs.
        out_of_fold: For each seed, its folds' predictions together; empty without cross-validation.
    """

    choices: dict[str, str]
    rows: list[JobRow]
    mean: dict[str, float]
    deviation: dict[str, float | None]
    out_of_fold: list[OutOfFold]

    @property
    def replicates(self) -> str:
        """Over what the group is averaged, with numbers: ``5 folds and 3 seeds``."""
        completed = [row for row in self.rows if row.metrics]
        values = {name: {row.choices.get(key) for row in completed} for key, name in REPLICATED.items()}
        return " and ".join(f"{len(found)} {name}" for name, found in values.items() if len(found) > 1)


@dataclasses.dataclass
class MainEffect:
    """The objective of the jobs with one value of one key, averaged over everything else that varied.

    Attributes:
        value: The value.
        jobs: How many completed jobs had it.
        mean: Their mean objective.
        deviation: Its standard deviation; None for a single job.
    """

    value: str
    jobs: int
    mean: float
    deviation: float | None


class SweepTable:
    """The jobs of a sweep, and what is computed from them.

    Args:
        rows: The jobs.
        objective: The metric that the best job is best in.
        expected: How many jobs there will be.
        sources: The arguments that chose its configuration files.
    """

    def __init__(self, rows: list[JobRow], objective: Objective, expected: int, sources: Sequence[str]) -> None:
        self.rows, self.objective, self.expected = rows, objective, max(expected, len(rows))
        self.sources = sources
        self.own = [row for row in rows if row.same_as is None]  # each result counts once
        self.varying = _varying(rows)
        self.metrics = _shown_metrics(rows)
        self.groups = self._groups()
        self.best = self._best()

    @property
    def replicated(self) -> str:
        """Over what the groups are averaged: ``folds``, ``seeds`` or both; empty where each group is one job."""
        if all(len(group.rows) < 2 for group in self.groups):
            return ""
        return " and ".join(name for key, name in REPLICATED.items() if key in self.varying)

    @property
    def setting_keys(self) -> list[str]:
        """The varying keys whose values are compared; results are averaged over the others."""
        return [key for key in self.varying if key not in REPLICATED]

    @property
    def incomplete(self) -> list[JobRow]:
        """The jobs that are not completed, except for those that the search itself has pruned."""
        return [row for row in self.rows if row.status not in {"completed", "pruned"}]

    def count(self, status: RunStatus) -> int:
        """Return how many jobs have a status."""
        return sum(row.status == status for row in self.rows)

    def effects(self) -> dict[str, list[MainEffect]]:
        """Return the main effects of each compared key: the mean objective for each of its values, best first."""
        completed = [row for row in self.own if self.objective in row.metrics]
        found = {}
        for key in self.setting_keys:
            values: dict[str, list[float]] = {}
            for row in completed:
                values.setdefault(row.choices.get(key, "-"), []).append(row.metrics[self.objective])
            effects = [MainEffect(value, len(of), *_mean_and_deviation(of)) for value, of in values.items()]
            found[key] = sorted(effects, key=lambda effect: self.rank(effect.mean))
        return found

    def rank(self, value: float) -> float:
        """Return a number that is lower for a better objective."""
        return -value if self.objective == "val_accuracy" else value

    def command(self, row: JobRow) -> str:
        """Return the command that repeats a job."""
        return shlex.join(["python", "scripts/train.py", *row.overrides, *self.sources])

    def describe(self, row: JobRow | ReplicateGroup) -> str:
        """Return the varying keys of a job or a group with their values."""
        return " ".join(f"{key}={row.choices[key]}" for key in self.varying if key in row.choices)

    def text(self) -> str:
        """Return the outcome of a sweep in a few lines."""
        counts = ", ".join(f"{self.count(state)} {state}" for state in ENDED if self.count(state))
        reused = len(self.rows) - len(self.own)
        known = f", {reused} of them with the result of another" if reused else ""
        lines = [f"sweep          {counts or 'nothing'} of {self.expected} jobs{known}"]
        if self.best:
            group, row = self.best
            value = f"{self.objective} {group.mean[self.objective]:.4f}"
            deviation = group.deviation[self.objective]
            spread = f" ± {deviation:.4f} over {group.replicates}" if deviation is not None else ""
            lines.append(f"best           {value}{spread}  #{row.number}  {self.describe(group)}".rstrip())
            if group.out_of_fold:
                lines.append(f"out of fold    {_out_of_fold_text(group.out_of_fold)}")
        return "\n".join(lines)

    def error(self, folder: Path) -> str:
        """Return the error message of a sweep with jobs that did not complete."""
        bad = self.incomplete
        first = bad[0]
        reason = first.error or f"it is {first.status}"
        return (
            f"{len(bad)} of {self.expected} jobs did not complete; the first, #{first.number}: {reason}; "
            f"resume with -m sweep.resume={folder}"
        )

    def as_csv(self) -> str:
        """Return one line for each job: the keys that vary, then its results."""
        trials, reused = any(row.trial is not None for row in self.rows), len(self.own) < len(self.rows)
        gathered = {job.number: each for group in self.groups for each in group.out_of_fold for job in each.jobs}
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        head = ["job", *(["trial"] if trials else []), "status", *(["same_as"] if reused else []), *self.varying]
        head += [*self.metrics, *(OUT_OF_FOLD_METRICS if gathered else [])]
        writer.writerow([*head, "epochs", "seconds", "memory_mb", "error"])
        for row in self.rows:
            epochs = len(row.history.get("loss", []))
            writer.writerow(
                [row.number, *([row.trial] if trials else []), row.status, *([row.same_as] if reused else [])]
                + [row.choices.get(key, "") for key in self.varying]
                + [row.metrics.get(name, "") for name in self.metrics]
                + [
                    getattr(gathered.get(row.number), name, "")
                    for name in (OUT_OF_FOLD_METRICS.values() if gathered else [])
                ]
                + [epochs, round(row.seconds, 1), row.memory_mb or "", row.error or ""]
            )
        return stream.getvalue()

    def _groups(self) -> list[ReplicateGroup]:
        by_choices: dict[tuple[tuple[str, str], ...], list[JobRow]] = {}
        for row in self.own:
            key = tuple((name, row.choices[name]) for name in self.setting_keys if name in row.choices)
            by_choices.setdefault(key, []).append(row)
        groups = []
        for choices, rows in by_choices.items():
            completed = [row.metrics for row in rows if row.metrics]
            values = {name: [metrics[name] for metrics in completed if name in metrics] for name in self.metrics}
            found = {name: _mean_and_deviation(of) for name, of in values.items() if of}
            mean = {name: value[0] for name, value in found.items()}
            deviation = {name: value[1] for name, value in found.items()}
            groups.append(ReplicateGroup(dict(choices), rows, mean, deviation, _out_of_fold(rows)))
        return groups

    def _best(self) -> tuple[ReplicateGroup, JobRow] | None:
        """Return the group with the best mean objective, and its best job.

        A group that lacks folds or seeds which others have, because its jobs failed or still run, is the best only if
        all do: the mean of a few can be lucky.
        """
        measured = [group for group in self.groups if self.objective in group.mean]
        if not measured:
            return None
        completed = [sum(row.status == "completed" for row in group.rows) for group in measured]
        whole = [
            group
            for group, count in zip(measured, completed, strict=True)
            if count in {len(group.rows), max(completed)}
        ]
        group = min(whole, key=lambda group: self.rank(group.mean[self.objective]))
        rows = [row for row in group.rows if self.objective in row.metrics]
        return group, min(rows, key=lambda row: self.rank(row.metrics[self.objective]))


def read(folder: Path) -> SweepTable:
    """Collect the jobs of a sweep's folder, running or ended, also of a sweep from before there was a manifest.

    Raises:
        InputError: When the folder is not a sweep's.
    """
    manifest = SweepManifest.read(folder) or _reconstructed(folder)
    rows = [_row(job, folder) for job in manifest.jobs]
    return SweepTable(rows, manifest.objective, manifest.planned_jobs, manifest.sources)


def _reconstructed(folder: Path) -> SweepManifest:
    runs = job_folders(folder)
    if not runs:
        raise InputError(f"{folder}: is not the folder of a sweep (it has neither {MANIFEST_FILE} nor jobs)")
    jobs = [SweepJob(number, upgrade_overrides(run.read_overrides()), {}) for number, run in runs.items()]
    return SweepManifest([], {"objective": "val_accuracy"}, jobs)


def _row(job: SweepJob, sweep: Path) -> JobRow:
    folder = job.folder(sweep)
    result, status = folder.read_result(), folder.status()
    is_own = job.same_as is None
    history = folder.read_history() if is_own else {}
    return JobRow(
        number=job.number,
        status=status,
        overrides=job.overrides,
        choices=dict(override.lstrip("+").split("=", 1) for override in job.overrides if "=" in override),
        metrics=result.metrics if result else {},
        history=history,
        seconds=sum(history.get("seconds", [])),
        memory_mb=folder.read_record().peak_memory_mb if is_own else None,
        error=result.error if result and status != "pruned" else None,
        trial=job.trial,
        same_as=job.same_as,
        fold=_fold_job(job, folder) if is_own else None,
    )


def _fold_job(job: SweepJob, folder: RunFolder) -> FoldJob | None:
    data = job.config.get("data") or {}
    return None if data.get("folds") is None else FoldJob(job.number, data["fold"], data["folds"], folder)


def _out_of_fold(rows: Sequence[JobRow]) -> list[OutOfFold]:
    """Return the out-of-fold scores of the jobs of one group, for each seed."""
    by_seed: dict[str | None, list[FoldJob]] = {}
    for row in rows:
        if row.fold is not None and row.status == "completed":
            by_seed.setdefault(row.choices.get(SEED), []).append(row.fold)
    return [scores for jobs in by_seed.values() if (scores := gather(jobs)) is not None]


def _out_of_fold_text(found: Sequence[OutOfFold]) -> str:
    accuracy, macro = (
        statistics.fmean(getattr(each, name) for each in found) for name in ("accuracy", "macro_accuracy")
    )
    folds = min(len(each.jobs) for each in found)
    missing = f", {folds} of {found[0].folds} folds" if folds < found[0].folds else ""
    mean = f" (mean of {len(found)} seeds)" if len(found) > 1 else ""
    return f"accuracy {accuracy:.4f}, macro accuracy {macro:.4f}{mean}, {found[0].images:,} images{missing}"


def _shown_metrics(rows: Sequence[JobRow]) -> list[str]:
    """Return ``METRICS``, and each macro accuracy that is another than its accuracy in some job."""
    shown = []
    for name in METRICS:
        macro = MACRO_METRICS.get(name, name)
        found = [row.metrics for row in rows if name in row.metrics and macro in row.metrics]
        differs = any(abs(metrics[macro] - metrics[name]) > MACRO_TOLERANCE for metrics in found)
        shown += [name, macro] if differs else [name]
    return shown


def _varying(rows: Sequence[JobRow]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row.choices)
    return [key for key in keys if len({row.choices.get(key) for row in rows}) > 1]


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan, None
    return statistics.fmean(finite), statistics.stdev(finite) if len(finite) > 1 else None
