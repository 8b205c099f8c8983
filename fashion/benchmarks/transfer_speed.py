"""How soon photos become a classifier: ``experiment=transfer`` and the program of Keras's guide, in turns in one run.

Each turn begins with nothing cached but the files themselves; its seconds are counted from the start of its process.
"""

import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, cast

from matplotlib.axes import Axes
from PIL import Image

from fashion import machine
from fashion.benchmarks.progress import say
from fashion.benchmarks.serving_speed import form_request, run_clients, running
from fashion.config.build import build
from fashion.config.command import training_configuration
from fashion.config.override_text import quote_path
from fashion.data.dataset import Dataset
from fashion.errors import InputError
from fashion.figures import saved_figure
from fashion.palette import ACCENT, MUTED, PRIMARY
from fashion.paths import PROJECT
from fashion.plural import counted
from fashion.runs.folder import RunFolder

PACKAGES = ("keras", "tensorflow-cpu", "scikit-learn", "numpy")
GUIDE = "Keras's guide"
GUIDE_PROGRAM = ("-m", "fashion.benchmarks.transfer_guide")
SERVED_SECONDS = 5


class ProjectTurn(TypedDict):
    """One run of ``experiment=transfer``: seconds to the fitted layer and of the whole command, and test accuracy.

    ``served_ms`` is the median time in which ``scripts/serve.py`` answers one client that uploads a test photo.
    """

    fitted: float
    seconds: float
    accuracy: float
    served_ms: float


class GuideEpoch(TypedDict):
    """An epoch of the guide's program: the seconds until its end, and the test accuracy then."""

    epoch: int
    fine_tuning: bool
    accuracy: float
    seconds: float


class TransferSpeed(TypedDict):
    """The result of the benchmark: what was trained on, and the turns, one of each contender in a round.

    ``accuracy`` is the one whose time is compared; ``photo`` has width, height and bytes of the photo that is served.
    """

    machine: machine.MachineDescription
    recipe: list[str]
    photos: dict[str, int]
    classes: int
    image_size: int
    photo: list[int]
    accuracy: float
    epochs: int
    fine_tuning_epochs: int
    project: list[ProjectTurn]
    guide: list[list[GuideEpoch]]


def measure(
    root: Path, recipe: Sequence[str], accuracy: float, epochs: int, fine_tuning_epochs: int, rounds: int
) -> TransferSpeed:
    """Train on a folder of photos by the recipe and by the guide's program, in turns.

    The guide's program ends a turn at ``accuracy`` and at what the recipe reached in the same round, whichever is
    higher. It trains on all photos but the test photos; the recipe leaves some of them out for validation.

    Args:
        root: A folder of class folders, or of train, validation and test with such folders.
        recipe: Overrides of ``scripts/train.py``, which choose the recipe.
        accuracy: Test accuracy whose time is compared.
        epochs: Maximum number of epochs of the guide's last layer alone.
        fine_tuning_epochs: Maximum number of epochs of its whole network after that.
        rounds: Turns of each.

    Raises:
        InputError: When the folder is not one of photos, or a turn fails.
    """
    own: list[ProjectTurn] = []
    guide: list[list[GuideEpoch]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = _load(root, folder, recipe)
        size = data.input.height
        link_photos(root, data, folder / "photos")
        photo = root / str(data.test.sources[0])
        for turn in range(rounds):
            own.append(_train(root, folder / f"round_{turn}", recipe, turn, photo))
            say(
                f"round {turn + 1}/{rounds}\n  {' '.join(recipe)}: {own[-1]['accuracy']:.2%} after "
                f"{own[-1]['seconds']:.1f} s, its last layer fitted after {own[-1]['fitted']:.1f} s"
            )
            target = max(accuracy, own[-1]["accuracy"])
            guide.append(_run_guide(folder / "photos", (size, epochs, fine_tuning_epochs, turn), data, target))
    return TransferSpeed(
        machine=machine.describe_machine(PACKAGES),
        recipe=list(recipe),
        photos={name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        classes=len(data.classes),
        image_size=size,
        photo=[*Image.open(photo).size, photo.stat().st_size],
        accuracy=accuracy,
        epochs=epochs,
        fine_tuning_epochs=fine_tuning_epochs,
        project=own,
        guide=guide,
    )


def _load(root: Path, folder: Path, recipe: Sequence[str]) -> Dataset:
    """Return the data of the recipe; all files are in memory afterwards, so that all turns find them there."""
    overrides = [*recipe, f"data.root={quote_path(root)}", f"data.cache={quote_path(folder / 'split')}"]
    data: Dataset = build(training_configuration(folder, *overrides)["data"], seed=0)
    return data


def link_photos(root: Path, data: Dataset, folder: Path) -> None:
    """Link photos into ``folder/train/CLASS`` and ``folder/test/CLASS``, as Keras's loader expects them.

    Args:
        root: The folder of the data set.
        data: Its splits; the validation photos go to ``train``.
        folder: Gets the folders.
    """
    number = itertools.count()  # two folders may have files of one name
    for name, split in (("train", data.train), ("train", data.validation), ("test", data.test)):
        for label in range(len(data.classes)):
            (folder / name / f"{label:04d}").mkdir(parents=True, exist_ok=True)
        for source, label in zip(split.sources.tolist(), split.labels.tolist(), strict=True):
            link = folder / name / f"{label:04d}" / f"{next(number):07d}{Path(source).suffix}"
            link.symlink_to((root / source).resolve())


def _train(root: Path, folder: Path, recipe: Sequence[str], seed: int, photo: Path) -> ProjectTurn:
    """Run the recipe as a user does, with empty caches, and serve its artifact."""
    run = folder / "run"
    command = [sys.executable, str(PROJECT / "scripts" / "train.py"), *recipe]
    places = {"data.root": root, "data.cache": folder / "data", "hydra.run.dir": run}
    command += [f"{key}={quote_path(place)}" for key, place in places.items()] + [f"trainer.seed={seed}"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    started = time.monotonic()
    finished = subprocess.run(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    if finished.returncode:
        raise InputError(f"{' '.join(recipe)} failed with exit status {finished.returncode}; the reason is above")
    timings = RunFolder(run).read_record().timings_seconds
    with running("this", run, folder) as port:
        request = folder / "request"
        request.write_bytes(form_request(photo.read_bytes(), photo.name))
        served = run_clients(port, 1, SERVED_SECONDS, request)
    if served["errors"]:
        raise InputError(f"the server of {run} did not answer {served['errors']} requests")
    return ProjectTurn(
        fitted=timings["total"] - timings["evaluation"],
        seconds=seconds,
        accuracy=RunFolder(run).read_metrics()["test"]["accuracy"],
        served_ms=served["p50_ms"],
    )


def _run_guide(photos: Path, numbers: Sequence[int], data: Dataset, target: float) -> list[GuideEpoch]:
    """Run the guide's program until it reaches a test accuracy, or to its end, and take the time of each epoch."""
    command = [sys.executable, *GUIDE_PROGRAM, str(photos), *map(str, numbers)]
    epochs: list[GuideEpoch] = []
    started = time.monotonic()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}  # Keras warns of what its guide does
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            seconds, content = time.monotonic() - started, json.loads(line)
            if "split" in content:
                read = content["split"]
                continue
            epochs.append(cast(GuideEpoch, {**content, "seconds": seconds}))
            phase = "fine-tuning" if content["fine_tuning"] else "last layer"
            say(f"  {GUIDE}, {phase}, epoch {content['epoch']}: {content['accuracy']:.2%} after {seconds:.1f} s")
            if content["accuracy"] >= target:
                process.kill()
                break
    if not epochs or (process.returncode and epochs[-1]["accuracy"] < target):
        raise InputError(f"{GUIDE} failed with exit status {process.returncode}; the reason is above")
    if read != (expected := {"train": len(data.train) + len(data.validation), "test": len(data.test)}):
        raise InputError(f"Keras's loader read {read} photos, expected {expected}: it reads JPEG and PNG files alone")
    return epochs


def seconds_to(accuracy: float, epochs: Sequence[GuideEpoch]) -> float:
    """Return the seconds until the first epoch that ends with a test accuracy; infinity if none does."""
    return next((epoch["seconds"] for epoch in epochs if epoch["accuracy"] >= accuracy), math.inf)


def times_as_long(result: TransferSpeed, accuracy: float | None) -> tuple[float, bool]:
    """Return how many times as long the guide's program takes as the whole command of the recipe.

    Args:
        result: The result of the benchmark.
        accuracy: Test accuracy to reach; None for what the recipe reached in the same round.

    Returns:
        The median over the rounds, and whether it is a lower bound, because a turn ended without that accuracy.
    """
    ratios, bound = [], False
    for own, epochs in zip(result["project"], result["guide"], strict=True):
        seconds = seconds_to(own["accuracy"] if accuracy is None else accuracy, epochs)
        bound |= math.isinf(seconds)
        ratios.append(min(seconds, epochs[-1]["seconds"]) / own["seconds"])
    return statistics.median(ratios), bound


def table(result: TransferSpeed) -> str:
    """Return the result as the lines that a terminal shows."""
    own, guide, target = result["project"], result["guide"], result["accuracy"]
    photos, percent, recipe = result["photos"], f"{100 * target:g} %", " ".join(result["recipe"])
    accuracy = statistics.median(turn["accuracy"] for turn in own)
    rows = []
    for name, times in (
        ("whole command", [turn["seconds"] for turn in own]),
        ("last layer fitted", [turn["fitted"] for turn in own]),
    ):
        reached = [
            seconds if turn["accuracy"] >= target else math.inf for seconds, turn in zip(times, own, strict=True)
        ]
        rows.append((f"{recipe}, {name}", accuracy, reached, times))
    best = statistics.median(max(epoch["accuracy"] for epoch in epochs) for epochs in guide)
    to_target = [seconds_to(target, epochs) for epochs in guide]
    to_equal = [seconds_to(turn["accuracy"], epochs) for turn, epochs in zip(own, guide, strict=True)]
    most = f"at most {result['epochs']} + {result['fine_tuning_epochs']} epochs"
    rows.append((f"{GUIDE}, {most}", best, to_target, to_equal))
    width = max(len(name) for name, *_ in rows) + 2
    wide, high, size = result["photo"]
    return "\n".join(
        [
            machine.summarise_machine(result["machine"], result["machine"]["versions"]),
            f"{photos['train']:,} training, {photos['validation']:,} validation and {photos['test']:,} test photos of "
            f"{result['classes']} classes, {result['image_size']} x {result['image_size']} pixels; medians of "
            f"{counted(len(own), 'round')}",
            "",
            f"{'':<{width}}test accuracy{f'seconds to {percent}':>19}{'to equal accuracy':>20}",
            *(
                f"{name:<{width}}{100 * share:>11.2f} %{_seconds(first):>19}{_seconds(second):>20}"
                for name, share, first, second in rows
            ),
            "",
            f"{GUIDE} takes {_times(*times_as_long(result, target))} as long as the whole command to {percent}, "
            f"{_times(*times_as_long(result, None))} to equal accuracy",
            f"scripts/serve.py answers a photo of {wide} x {high} pixels ({size / 1000:.0f} kB) in "
            f"{statistics.median(turn['served_ms'] for turn in own):.1f} ms, with one client",
        ]
    )


def _seconds(turns: Sequence[float]) -> str:
    median = statistics.median(turns)
    return "never" if math.isinf(median) else f"{median:.0f} s"


def _times(ratio: float, bound: bool) -> str:
    return f"{'more than ' if bound else ''}{ratio:.1f} times"


def chart(result: TransferSpeed, path: Path) -> None:
    """Write test accuracy against seconds, a point for each run of the recipe and a line for the guide's, as a PNG."""
    with saved_figure(path, 8, 4.2, "Test accuracy against seconds from the start") as figure:
        axes = figure.subplots()
        axes.axhline(100 * result["accuracy"], color=MUTED, linestyle="--", linewidth=1)
        for number, epochs in enumerate(result["guide"]):
            labels = [None if number else f"{GUIDE}, {phase}" for phase in ("last layer", "fine-tuning")]
            frozen = sum(not epoch["fine_tuning"] for epoch in epochs)
            _line(axes, epochs[:frozen], MUTED, labels[0])
            if frozen < len(epochs):
                _line(axes, epochs[frozen - 1 :], ACCENT, labels[1])
        accuracies = [100 * turn["accuracy"] for turn in result["project"]]
        for name, times, fill in (
            ("last layer fitted", [turn["fitted"] for turn in result["project"]], "white"),
            ("whole command", [turn["seconds"] for turn in result["project"]], PRIMARY),
        ):
            axes.plot(
                times,
                accuracies,
                "D",
                color=PRIMARY,
                markerfacecolor=fill,
                label=f"{' '.join(result['recipe'])}, {name}",
            )
        axes.set_xlim(left=0)
        axes.set_xlabel(f"seconds on {result['machine']['processor']}, {result['machine']['cores']} cores")
        axes.set_ylabel("test accuracy, %")
        axes.legend(loc="lower right")


def _line(axes: Axes, epochs: Sequence[GuideEpoch], color: str, label: str | None) -> None:
    seconds, accuracies = [epoch["seconds"] for epoch in epochs], [100 * epoch["accuracy"] for epoch in epochs]
    axes.plot(seconds, accuracies, "o-", color=color, markersize=4, label=label)
