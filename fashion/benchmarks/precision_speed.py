"""Training steps of recipes on each backend and in each precision, beside what ``auto`` chooses on this machine."""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from fashion import machine
from fashion.backend.processor import find_processor
from fashion.benchmarks.contender_process import running
from fashion.benchmarks.progress import say
from fashion.benchmarks.training_speed import PACKAGES
from fashion.config.command import training_configuration
from fashion.training.auto_settings import fastest

RECIPES = ("speedrun", "tiny", "best", "efficientnetb0")
COMBINATIONS = tuple(
    (backend, precision) for backend in ("jax", "tensorflow") for precision in ("float32", "mixed_bfloat16")
)
SHORT = {"float32": "float32", "mixed_bfloat16": "bfloat16"}


class RecipeSpeed(TypedDict):
    """One recipe: milliseconds of a training step in each turn, by ``BACKEND PRECISION``, and what ``auto`` chooses."""

    recipe: str
    batch_size: int
    step_ms: dict[str, list[float]]
    auto: str
    times_fastest: float


class PrecisionSpeed(TypedDict):
    """The result of the benchmark."""

    machine: machine.MachineDescription
    rounds: int
    steps: int
    recipes: list[RecipeSpeed]


def measure(recipes: Sequence[str], overrides: Sequence[str], rounds: int, steps: int) -> PrecisionSpeed:
    """Train each recipe for some steps in all four ways, which take turns, each in a process of its own.

    Args:
        recipes: Choices of ``experiment``.
        overrides: Of every recipe.
        rounds: Turns of each way; medians are compared.
        steps: Steps of a turn, after those that compile and warm up.

    Raises:
        InputError: A process stopped; the message has its last line.
    """
    with tempfile.TemporaryDirectory() as temporary:
        measured = [_measured(recipe, overrides, rounds, steps, Path(temporary)) for recipe in recipes]
    return {"machine": machine.describe_machine(PACKAGES), "rounds": rounds, "steps": steps, "recipes": measured}


def _measured(recipe: str, overrides: Sequence[str], rounds: int, steps: int, folder: Path) -> RecipeSpeed:
    arguments = [f"experiment={recipe}", *overrides]
    config = training_configuration(folder, *arguments)
    times: dict[str, list[float]] = {" ".join(each): [] for each in COMBINATIONS}
    for turn in range(rounds):
        for backend, precision in COMBINATIONS:
            way = f"{backend} {precision}"
            chosen = (f"trainer.backend={backend}", f"trainer.precision={precision}")
            with running("project", folder, *arguments, *chosen) as process:
                times[way].append(1000 * process.ask("train", steps=steps)["seconds"] / steps)
            say(f"round {turn + 1}/{rounds}  {recipe:<15} {way:<26} {times[way][-1]:8.1f} ms a step")
    auto = " ".join(fastest(config, find_processor()).values.values())
    medians = {way: statistics.median(of_way) for way, of_way in times.items()}
    return {
        "recipe": recipe,
        "batch_size": config["trainer"]["batch_size"],
        "step_ms": times,
        "auto": auto,
        "times_fastest": medians[auto] / min(medians.values()),
    }


def table(result: PrecisionSpeed) -> str:
    """Return the medians as the lines that a terminal shows."""
    heads = [f"{backend} {SHORT[precision]}" for backend, precision in COMBINATIONS]
    lines = [
        machine.summarise_machine(result["machine"], result["machine"]["versions"]),
        "",
        f"{'ms a step':<16}batch  " + "  ".join(f"{head:>19}" for head in heads) + "  auto                 x fastest",
    ]
    for row in result["recipes"]:
        cells = [f"{statistics.median(row['step_ms'][' '.join(each)]):19.1f}" for each in COMBINATIONS]
        backend, precision = row["auto"].split()
        chosen = f"{backend} {SHORT[precision]}"
        lines.append(
            f"{row['recipe']:<16}{row['batch_size']:5}  {'  '.join(cells)}  {chosen:<19}{row['times_fastest']:11.2f}"
        )
    return "\n".join(lines)
