"""Recipes over seeds: accuracy with its spread, and training time."""

import json
import re
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from fashion import machine
from fashion.benchmarks import child
from fashion.benchmarks.progress import say
from fashion.benchmarks.training_speed import TrainingSpeed
from fashion.card import read_card
from fashion.config.command import training_configuration
from fashion.config.nodes import ResolvedConfig
from fashion.config.override_text import quote_path
from fashion.config.renames import upgrade_config
from fashion.errors import InputError
from fashion.figures import saved_figure
from fashion.palette import ACCENT, MUTED, PRIMARY
from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder
from fashion.runs.identity import comparable
from fashion.training.auto_settings import applied, decide

BASELINE = "baseline"
BASELINE_IMAGES = 15 * 54_000
RESERVED_KEYS = ("trainer.seed", "trainer.resume", "hydra.run.dir", "experiment")
PACKAGES = ("python", "keras", "jax", "tensorflow-cpu", "numpy")


class Where(NamedTuple):
    """The software and hardware that a run was trained on."""

    backend: str
    device: str
    machine: machine.Hardware
    versions: dict[str, str]


class TrainedRun(NamedTuple):
    """What a row has of one run; ``measured`` is the day, ``seconds`` the time of training alone."""

    accuracy: float
    seconds: float
    total_seconds: float
    parameters: int
    multiply_adds: int
    measured: str
    commit: str
    where: Where


class Row(TypedDict):
    """A recipe over seeds, on one kind of machine: the mean accuracy and its deviation, medians of seconds."""

    recipe: str
    overrides: list[str]
    parameters: int
    multiply_adds: int
    seeds: list[int]
    accuracies: list[float]
    accuracy_mean: float
    accuracy_deviation: float | None
    all_seconds: list[float]
    seconds: float
    total_seconds: float
    backend: str
    device: str
    machine: machine.Hardware
    versions: dict[str, str]
    measured: str
    commit: str
    command: str


class Records(TypedDict):
    """The result of the benchmark."""

    rows: list[Row]


def measure(recipe: str, seeds: Sequence[int], overrides: Sequence[str], folder: Path) -> Row:
    """Train a recipe once for each seed, one after the other; completed runs are not repeated.

    Args:
        recipe: A choice of ``experiment``.
        seeds: The seeds.
        overrides: Hydra overrides on top of the recipe's own; they become part of the row's name.
        folder: Where each run goes, in a folder of its own.

    Raises:
        InputError: When an override is reserved, a folder has a run of an older version of the recipe, or a run fails;
            its last line is in the message.
    """
    for override in overrides:
        key, found, _ = override.lstrip("+~").partition("=")
        if not found and not override.startswith("~"):
            raise InputError(f"{override}: expected KEY=VALUE, an override of the recipe")
        if key in RESERVED_KEYS:
            raise InputError(f"{override}: {key} is set by the benchmark itself; see --seeds, --runs and RECIPE")
    name = " ".join([recipe, *overrides])
    folder = folder.resolve() / re.sub(r"[^\w.-]+", "_", name)  # the runs are started in the project's folder
    commands = {folder / f"seed_{seed}": [f"experiment={recipe}", f"trainer.seed={seed}", *overrides] for seed in seeds}
    _refuse_older_recipes(commands)
    runs = []
    for seed, (run, command) in zip(seeds, commands.items(), strict=True):
        _train(run, command)
        runs.append(_read(run))
        say(f"{name}  seed {seed}  test accuracy {100 * runs[-1].accuracy:.2f} %  {runs[-1].seconds:.0f} s")
    return make_row(recipe, list(overrides), list(seeds), runs)


def make_row(recipe: str, overrides: list[str], seeds: list[int], runs: Sequence[TrainedRun]) -> Row:
    """Return the recipe's row.

    Args:
        recipe: A choice of ``experiment``.
        overrides: Hydra overrides on top of the recipe's own.
        seeds: One for each run.
        runs: The runs.

    Raises:
        InputError: When the runs were not made on one kind of machine with one set of versions.
    """
    first = runs[0]
    if any(run.where != first.where for run in runs):
        raise InputError(f"{recipe}: its runs are of different machines or versions; remove the older ones' folders")
    accuracies = [run.accuracy for run in runs]
    return {
        "recipe": recipe,
        "overrides": overrides,
        "parameters": first.parameters,
        "multiply_adds": first.multiply_adds,
        "seeds": seeds,
        "accuracies": accuracies,
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_deviation": statistics.stdev(accuracies) if len(runs) > 1 else None,
        "all_seconds": [run.seconds for run in runs],
        "seconds": statistics.median(run.seconds for run in runs),
        "total_seconds": statistics.median(run.total_seconds for run in runs),
        "backend": first.where.backend,
        "device": first.where.device,
        "machine": first.where.machine,
        "versions": first.where.versions,
        "measured": max(run.measured for run in runs),
        "commit": ", ".join(dict.fromkeys(run.commit for run in runs)),
        "command": shlex.join(
            ["python", "scripts/benchmark.py", "records", recipe, *overrides, "--seeds", str(len(seeds))]
        ),
    }


def _refuse_older_recipes(commands: Mapping[Path, list[str]]) -> None:
    older = [
        str(run)
        for run, overrides in commands.items()
        if RunFolder(run).status() == "completed"
        and _trained_configuration(run) != comparable(_todays_configuration(run, overrides))
    ]
    if older:
        raise InputError(
            f"{', '.join(older)}: trained with another configuration than the recipe has now; "
            f"remove that, or choose another --runs"
        )


def _trained_configuration(run: Path) -> ResolvedConfig:
    """Return the configuration of a completed run, with the keys that were added since."""
    return upgrade_config(read_card(RunFolder(run).card).config)


def _todays_configuration(run: Path, overrides: list[str]) -> ResolvedConfig:
    """Return the configuration of a completed run's command as it is now, with what the run decided for ``auto``."""
    config = training_configuration(run, *overrides)
    return applied(config, decide(config, _trained_configuration(run)["trainer"]).values)


def _train(run: Path, overrides: list[str]) -> None:
    if RunFolder(run).status() == "completed":
        return
    started = [f"hydra.run.dir={quote_path(run)}", *overrides]
    command = [f"trainer.resume={quote_path(run)}"] if RunFolder(run).started else started
    child.run(" ".join(overrides), [sys.executable, "scripts/train.py", *command])


def _read(run: Path) -> TrainedRun:
    folder = RunFolder(run)
    record, result, cost = folder.read_record(), folder.read_result(), folder.read_metrics()["cost"]
    if result is None:
        raise InputError(f"{run}: has no result; remove it to train it again")
    return TrainedRun(
        accuracy=result.metrics["test_accuracy"],
        seconds=record.timings_seconds["training"],
        total_seconds=record.timings_seconds["total"],
        parameters=cost["parameters"],
        multiply_adds=cost["multiply_adds"],
        measured=record.started[:10],
        commit=str(record.git or "not recorded"),
        where=Where(
            backend=record.backend,
            device=record.device,
            machine=record.hardware,
            versions={package: record.versions[package] for package in PACKAGES if package in record.versions},
        ),
    )


def read_rows(path: Path) -> list[Row]:
    """Return the rows that were recorded before; none where there is no such file.

    Raises:
        InputError: When the file is damaged.
    """
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text())["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); remove it, or choose another --folder") from None


def merged(rows: Sequence[Row], fresh: Row) -> list[Row]:
    """Return the rows with one replaced or added: CPUs first, then by training time.

    A row is replaced by one of the same recipe and overrides, from the same kind of machine.
    """
    kept = [row for row in rows if _subject(row) != _subject(fresh)]
    return sorted([*kept, fresh], key=lambda row: (not _on_cpu(row), row["seconds"]))


def _subject(row: Row) -> tuple[object, ...]:
    return row["recipe"], row["overrides"], row["device"], row["machine"]["processor"], row["machine"]["cores"]


def table(result: Records) -> str:
    """Return the rows as the lines that a terminal shows; the last column numbers the machines, listed below."""
    rows = result["rows"]
    places = list(dict.fromkeys(_place(row) for row in rows))
    lines = [
        f"{'recipe':<18}{'parameters':>11}{'multiply-adds':>15}   {'test accuracy':<17}seeds  training     total  where"
    ]
    for row in rows:
        spread = f" +- {100 * row['accuracy_deviation']:.2f}" if row["accuracy_deviation"] is not None else ""
        accuracy = f"{100 * row['accuracy_mean']:.2f}{spread} %"
        lines.append(
            f"{row['recipe']:<18}{row['parameters']:>11,}{row['multiply_adds']:>15,}   {accuracy:<17}"
            f"{len(row['seeds']):>5}  {row['seconds']:>6.0f} s  {row['total_seconds']:>6.0f} s  "
            f"{places.index(_place(row)) + 1:>5}"
        )
        lines += [f"  {' '.join(row['overrides'])}"] if row["overrides"] else []
    return "\n".join([*lines, "", *(f"{number}: {place}" for number, place in enumerate(places, 1))])


def _place(row: Row) -> str:
    line = machine.summarise_machine(row["machine"], row["versions"])
    return line if _on_cpu(row) else f"{row['device']} beside {line}"


def _processors(row: Row) -> str:
    return f"{row['machine']['cores']} cores" if _on_cpu(row) else row["device"]


def _on_cpu(row: Row) -> bool:
    return row["device"].startswith("cpu")


def chart(result: Records, path: Path) -> None:
    """Write accuracy against seconds, each recipe a point with its standard deviation, as a PNG.

    Rows from accelerators are shown in the table only, unless there are no others: they would need another axis.
    """
    rows = [row for row in result["rows"] if _on_cpu(row)] or result["rows"]
    with saved_figure(path, 8, 4.4, "Test accuracy against seconds of training") as figure:
        axes = figure.subplots()
        for row in rows:
            color = {BASELINE: MUTED, "speedrun": ACCENT}.get(row["recipe"], PRIMARY)
            mean, deviation = 100 * row["accuracy_mean"], row["accuracy_deviation"]
            # One seed says nothing about the spread.
            bar = None if deviation is None else 100 * deviation
            axes.errorbar(row["seconds"], mean, bar, fmt="o", color=color, capsize=4)
            _label(axes, f"{' '.join([row['recipe'], *row['overrides']])}  {mean:.2f} %", row["seconds"], mean)
            if row["recipe"] == BASELINE and (seconds := original_seconds(row["machine"])) is not None:
                axes.plot([row["seconds"], seconds], [mean, mean], "--", color=MUTED, linewidth=1)
                axes.plot(seconds, mean, "o", color=MUTED, markerfacecolor="white")
                _label(axes, "the original program", seconds, mean, above=-14)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel(f"seconds on {_processors(rows[0])}")
        axes.set_ylabel("test accuracy, %")
        axes.margins(x=0.3, y=0.15)


def original_seconds(here: Mapping[str, object]) -> float | None:
    """Return how long the original baseline program takes, by its rate in ``results/benchmark_training.json``.

    Args:
        here: The machine in question; the result is None when the rate was measured on another one.
    """
    measured: TrainingSpeed = json.loads((PROJECT / "results" / "benchmark_training.json").read_text())
    if any(measured["machine"][key] != here[key] for key in ("processor", "cores")):
        return None
    return BASELINE_IMAGES / measured["training"]["images_per_second"]["baseline"]


def _label(axes: Axes, text: str, seconds: float, accuracy: float, above: int = 6) -> None:
    axes.annotate(text, (seconds, accuracy), xytext=(8, above), textcoords="offset points")
