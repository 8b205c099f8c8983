"""What a sweep found: one table of its jobs, seeds taken together, and what each key does."""

import csv
import dataclasses
import io
import json
import math
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fashion.errors import InputError
from fashion.files import write_text
from fashion.sweeps import manifest
from fashion.sweeps.manifest import SEED, Job, Objective, Plan, Status

TABLE_FILE, PAGE_FILE = "sweep.csv", "sweep.html"
METRICS = ("val_accuracy", "val_loss", "test_accuracy", "test_loss")


@dataclasses.dataclass
class Row:
    """One job.

    Attributes:
        number: The name of its folder.
        status: How it is doing, or how it ended.
        choices: Override to value, of all its overrides.
        metrics: Of ``result.json``; empty before its end.
        history: Metric to its value after each epoch.
        seconds: Spent training.
        memory_mb: The most memory that its process had.
        error: The last line of what went wrong.
        trial: Which trial of a search it belongs to.
    """

    number: int
    status: Status
    choices: dict[str, str]
    metrics: dict[str, float]
    history: dict[str, list[float]]
    seconds: float
    memory_mb: float | None
    error: str | None
    trial: int | None


@dataclasses.dataclass
class Group:
    """The jobs that differ in nothing but their seed.

    Attributes:
        choices: Varying key to value.
        rows: Its jobs.
        mean: Metric to its mean over the completed jobs.
        deviation: Metric to its standard deviation; None for fewer than two jobs.
    """

    choices: dict[str, str]
    rows: list[Row]
    mean: dict[str, float]
    deviation: dict[str, float | None]


@dataclasses.dataclass
class Effect:
    """What one value of one key had, over everything else that varied.

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


class Table:
    """The jobs of a sweep, and what is computed of them.

    Args:
        rows: The jobs.
        objective: What the best is best at.
        expected: How many jobs there will be.
    """

    def __init__(self, rows: list[Row], objective: Objective, expected: int) -> None:
        self.rows, self.objective, self.expected = rows, objective, max(expected, len(rows))
        self.varying = _varying(rows)
        self.groups = self._groups()
        self.best = self._best()

    @property
    def incomplete(self) -> list[Row]:
        """Return the jobs that did not do what was asked of them; the search's own decisions to stop one are none."""
        return [row for row in self.rows if row.status not in {"completed", "pruned"}]

    def count(self, status: Status) -> int:
        """Return how many jobs have a status."""
        return sum(row.status == status for row in self.rows)

    def effects(self) -> dict[str, list[Effect]]:
        """Return the main effect of each varying key: the mean objective by its values, best first."""
        completed = [row for row in self.rows if self.objective in row.metrics]
        found = {}
        for key in self.varying:
            values: dict[str, list[float]] = {}
            for row in completed:
                values.setdefault(row.choices.get(key, "-"), []).append(row.metrics[self.objective])
            effects = [Effect(value, len(of), *_mean_and_deviation(of)) for value, of in values.items()]
            found[key] = sorted(effects, key=lambda effect: self.rank(effect.mean))
        return found

    def rank(self, value: float) -> float:
        """Return a number that is lower for a better objective."""
        return -value if self.objective == "val_accuracy" else value

    def command(self, row: Row) -> str:
        """Return the command that repeats a job."""
        overrides = [f"{key}={value}" for key, value in row.choices.items()]
        return shlex.join(["python", "scripts/train.py", *overrides])

    def shown_choices(self, row: Row | Group) -> str:
        """Return the varying keys of a job or a group with their values."""
        return " ".join(f"{key}={row.choices[key]}" for key in self.varying if key in row.choices)

    def text(self) -> str:
        """Return the end of a sweep in a few lines."""
        counts = ", ".join(f"{self.count(state)} {state}" for state in manifest.ENDED if self.count(state))
        lines = [f"sweep          {counts or 'nothing'} of {self.expected} jobs"]
        if self.best:
            group, row = self.best
            value = f"{self.objective} {group.mean[self.objective]:.4f}"
            deviation = group.deviation[self.objective]
            seeds = f" ± {deviation:.4f} over {len(group.rows)} seeds" if deviation is not None else ""
            lines.append(f"best           {value}{seeds}  #{row.number}  {self.shown_choices(group)}".rstrip())
        return "\n".join(lines)

    def error(self, folder: Path) -> str:
        """Return what to say of a sweep with jobs that did not complete."""
        bad = self.incomplete
        first = bad[0]
        why = first.error or f"it is {first.status}"
        return (
            f"{len(bad)} of {self.expected} jobs did not complete; the first, #{first.number}: {why}; "
            f"go on with -m sweep.resume={folder}"
        )

    def _groups(self) -> list[Group]:
        by_choices: dict[tuple[tuple[str, str], ...], list[Row]] = {}
        for row in self.rows:
            key = tuple((name, row.choices[name]) for name in self.varying if name in row.choices and name != SEED)
            by_choices.setdefault(key, []).append(row)
        groups = []
        for choices, rows in by_choices.items():
            completed = [row.metrics for row in rows if row.metrics]
            values = {name: [metrics[name] for metrics in completed if name in metrics] for name in METRICS}
            found = {name: _mean_and_deviation(of) for name, of in values.items() if of}
            mean = {name: value[0] for name, value in found.items()}
            groups.append(Group(dict(choices), rows, mean, {name: value[1] for name, value in found.items()}))
        return groups

    def _best(self) -> tuple[Group, Row] | None:
        """Return the group with the best mean objective, and the best job of it."""
        measured = [group for group in self.groups if self.objective in group.mean]
        if not measured:
            return None
        group = min(measured, key=lambda group: self.rank(group.mean[self.objective]))
        rows = [row for row in group.rows if self.objective in row.metrics]
        return group, min(rows, key=lambda row: self.rank(row.metrics[self.objective]))


def read(folder: Path) -> Table:
    """Gather the jobs of a sweep's folder, running or ended; one of before ``sweep.json`` counts too.

    Raises:
        InputError: When the folder holds no sweep.
    """
    planned = manifest.read(folder)
    if planned is None:
        planned = _found_jobs(folder)
    rows = [_row(job, folder) for job in planned.jobs]
    expected = int(planned.search.get("trials", 0)) * int(planned.search.get("repeats", 1))
    return Table(rows, planned.objective, expected)


def write(folder: Path) -> Table:
    """Write ``sweep.csv`` and ``sweep.html`` into a sweep's folder.

    Returns:
        What they hold.

    Raises:
        InputError: When the folder holds no sweep, or cannot be written.
    """
    from fashion.sweeps import sweep_page

    table = read(folder)
    write_text(folder / TABLE_FILE, as_csv(table))
    sweep_page.write(folder / PAGE_FILE, table, folder)
    return table


def as_csv(table: Table) -> str:
    """Return one line for each job: the keys that vary, then what came of them."""
    trials = any(row.trial is not None for row in table.rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["job", *(["trial"] if trials else []), "status", *table.varying, *METRICS]
    writer.writerow([*head, "epochs", "seconds", "memory_mb", "error"])
    for row in table.rows:
        epochs = len(row.history.get("loss", []))
        writer.writerow(
            [row.number, *([row.trial] if trials else []), row.status]
            + [row.choices.get(key, "") for key in table.varying]
            + [row.metrics.get(name, "") for name in METRICS]
            + [epochs, round(row.seconds, 1), row.memory_mb or "", row.error or ""]
        )
    return stream.getvalue()


def read_history(folder: Path) -> dict[str, list[float]]:
    """Return the columns of a job's ``history.csv``; empty before its first epoch has ended."""
    try:
        rows = list(csv.DictReader((folder / "history.csv").read_text(encoding="utf-8").splitlines()))
    except OSError:
        return {}
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else {}) if name != "epoch"}


def _found_jobs(folder: Path) -> Plan:
    found = [path for path in folder.glob("*/.hydra/overrides.yaml") if path.parents[1].name.isdecimal()]
    if not found:
        raise InputError(f"{folder}: is not the folder of a sweep (it has neither {manifest.PLAN_FILE} nor jobs)")
    jobs = [Job(int(path.parents[1].name), list(yaml.safe_load(path.read_text()) or []), {}) for path in found]
    return Plan([], {"objective": "val_accuracy"}, sorted(jobs, key=lambda job: job.number))


def _row(job: Job, sweep: Path) -> Row:
    folder = job.folder(sweep)
    result, history, run = manifest.result(folder), read_history(folder), _run_record(folder)
    status = manifest.status(folder)
    metrics = {name: value for name, value in (result.get("metrics") or {}).items() if value is not None}
    return Row(
        number=job.number,
        status=status,
        choices=dict(override.lstrip("+").split("=", 1) for override in job.overrides if "=" in override),
        metrics=metrics,
        history=history,
        seconds=sum(history.get("seconds", [])),
        memory_mb=run.get("peak_memory_mb"),
        error=None if status == "pruned" else manifest.reason(result),
        trial=job.trial,
    )


def _run_record(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _varying(rows: Sequence[Row]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row.choices)
    return [key for key in keys if len({row.choices.get(key) for row in rows}) > 1]


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan, None
    return statistics.fmean(finite), statistics.stdev(finite) if len(finite) > 1 else None
