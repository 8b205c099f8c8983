"""How many photos does a class need? The test accuracy of ``experiment=transfer`` on random subsets of its photos.

The features of all photos are computed once; the last layer is then fitted to those of each subset as a run fits it.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import keras
import numpy as np

from fashion import machine
from fashion.arrays import Labels, Positions
from fashion.benchmarks.progress import say
from fashion.config.build import build
from fashion.config.nodes import ResolvedConfig
from fashion.data.dataset import Dataset, Split
from fashion.data.split import seeded_generator
from fashion.errors import InputError
from fashion.figures import saved_figure
from fashion.metrics import confusion_matrix, macro_accuracy, per_class
from fashion.models.blocks import last_dense
from fashion.palette import ACCENT, PRIMARY
from fashion.training.fit import build_network
from fashion.training.frozen_features import Features, FrozenFeatures
from fashion.training.linear_probe import feature_cache, fit
from fashion.training.training_settings import TrainerSettings

PACKAGES = ("keras", "tensorflow-cpu", "scikit-learn", "numpy")
SIZES = (5, 10, 20, 50)  # photos of each class in a subset; those are left out for which a class has too few
RUNS = 5  # on all training photos, each with other validation photos
SPREAD = (0.025, 0.975)  # the quantiles between which the draws are reported


class Estimate(TypedDict):
    """The accuracies of several draws: their mean, half its 95 % t interval, and the bounds of the central 95 %."""

    draws: list[float]
    mean: float
    margin: float
    low: float
    high: float


class Row(TypedDict):
    """Draws of one size: photos of each class, None for all of a run's training photos, and how many those are."""

    photos_per_class: int | None
    photos: int
    accuracy: Estimate
    macro_accuracy: Estimate


class PhotosPerClass(TypedDict):
    """The result of the benchmark; ``photos`` are those the subsets are drawn from, ``test_photos`` are always all."""

    machine: machine.MachineDescription
    image_size: int
    classes: int
    photos: int
    smallest_class: int
    largest_class: int
    test_photos: int
    sizes: list[Row]


class Labelled(NamedTuple):
    """Features ``(n, d)`` float32 of photos, their labels ``(n,)``, and where they come from."""

    features: Features
    labels: Labels
    sources: Sequence[str]


def measure(config: ResolvedConfig, settings: TrainerSettings, draws: int) -> PhotosPerClass:
    """Fit the last layer to random subsets of the training and validation photos, and test each.

    Args:
        config: A run's configuration; with ``flip_average`` features are averaged with those of the mirror image.
        settings: Its checked ``trainer`` group; Keras runs on its backend already.
        draws: Number of random subsets of each size, at least 2.

    Raises:
        InputError: When the data cannot be read or is limited, or there is one draw alone.
    """
    if draws < 2:
        raise InputError(f"--draws: got {draws}, expected 2 or more: one draw has no spread")
    if config["data"]["limit"] is not None:
        raise InputError(f"data.limit: got {config['data']['limit']}, expected null: the benchmark draws the subsets")
    data: Dataset = build(config["data"], seed=settings.seed)
    network = build_network(config, settings, data, steps=1)
    last = last_dense(network.core)
    if not last:
        raise InputError("expected a recipe whose network ends in a dense layer")
    frozen = FrozenFeatures(
        keras.Model(network.core.input, last[1], name="features"), settings.precision, feature_cache(config["data"])
    )
    pool = _labelled(frozen, network.flip_average, data.train, data.validation)
    test = _labelled(frozen, network.flip_average, data.test)
    counts = np.bincount(pool.labels)
    balanced = settings.class_weights is not None
    rows = []
    for size in SIZES:
        if size > counts.min():
            say(f"{size} photos of each class: left out, a class has only {counts.min()}")
            continue
        subsets = [class_balanced(pool.labels, size, draw) for draw in range(draws)]
        rows.append(_row(size, pool, test, subsets, balanced))
    place = {source: position for position, source in enumerate(pool.sources)}
    runs = [build(config["data"], seed=seed).train.sources.tolist() for seed in range(RUNS)]
    rows.append(_row(None, pool, test, [np.array([place[source] for source in sources]) for sources in runs], balanced))
    return PhotosPerClass(
        machine=machine.describe_machine(PACKAGES),
        image_size=data.input.height,
        classes=len(data.classes),
        photos=len(pool.labels),
        smallest_class=int(counts.min()),
        largest_class=int(counts.max()),
        test_photos=len(test.labels),
        sizes=rows,
    )


def class_balanced(labels: Labels, size: int, draw: int) -> Positions:
    """Return ``size`` random positions of each class; another ``draw`` gives others."""
    random = seeded_generator(size, draw)
    of_each = [random.permutation(np.flatnonzero(labels == number))[:size] for number in np.unique(labels)]
    return np.sort(np.concatenate(of_each))


def _labelled(frozen: FrozenFeatures, flip_average: bool, *splits: Split) -> Labelled:
    features = [frozen(split.images) for split in splits]
    if flip_average:
        mirrored = [frozen(split.images, mirrored=True) for split in splits]
        features = [(one + other) / 2 for one, other in zip(features, mirrored, strict=True)]
    sources = [source for split in splits for source in split.sources.tolist()]
    return Labelled(np.concatenate(features), np.concatenate([split.labels for split in splits]), sources)


def _row(size: int | None, pool: Labelled, test: Labelled, subsets: Sequence[Positions], balanced: bool) -> Row:
    accuracies, macro_accuracies = [], []
    for seed, subset in enumerate(subsets):
        probe = fit(pool.features[subset], pool.labels[subset], seed, balanced=balanced)
        predicted = np.argmax(test.features @ probe.kernel + probe.bias, axis=1)
        counts = confusion_matrix(test.labels, predicted, probe.bias.size)
        accuracies.append(float(np.mean(predicted == test.labels)))
        macro_accuracies.append(macro_accuracy(per_class(counts))[0])
    row = Row(
        photos_per_class=size,
        photos=round(statistics.fmean(map(len, subsets))),
        accuracy=estimate(accuracies),
        macro_accuracy=estimate(macro_accuracies),
    )
    say(_line(row))
    return row


def estimate(draws: Sequence[float]) -> Estimate:
    """Return the mean of two or more draws with its t interval, and their spread."""
    from scipy.stats import t

    margin = float(t.ppf(SPREAD[1], len(draws) - 1)) * statistics.stdev(draws) / len(draws) ** 0.5
    low, high = np.quantile(draws, SPREAD).tolist()
    return Estimate(draws=list(draws), mean=statistics.fmean(draws), margin=margin, low=low, high=high)


def table(result: PhotosPerClass) -> str:
    """Return the result as a table in Markdown."""
    size = result["image_size"]
    lines = [
        f"{result['test_photos']:,} test photos of {result['classes']} classes, {size} x {size} pixels; subsets of "
        f"{result['photos']:,} photos, {result['smallest_class']:,} to {result['largest_class']:,} of a class",
        "",
        "| photos per class | draws | accuracy | of single draws | macro accuracy | of single draws |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, result["sizes"])])


def _line(row: Row) -> str:
    name = f"all {row['photos']:,}" if row["photos_per_class"] is None else str(row["photos_per_class"])
    cells = [f"{_mean(found)} | {_spread(found)}" for found in (row["accuracy"], row["macro_accuracy"])]
    return f"| {name} | {len(row['accuracy']['draws'])} | {cells[0]} | {cells[1]} |"


def _mean(found: Estimate) -> str:
    return f"{100 * found['mean']:.1f} ± {100 * found['margin']:.1f} %"


def _spread(found: Estimate) -> str:
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f} %"


def chart(result: PhotosPerClass, path: Path) -> None:
    """Write accuracy and macro accuracy against photos per class, with the spread of single draws, as a PNG."""
    rows = result["sizes"]
    sizes = [row["photos_per_class"] or row["photos"] / result["classes"] for row in rows]
    names = ["all" if row["photos_per_class"] is None else str(row["photos_per_class"]) for row in rows]
    with saved_figure(path, 8, 4.2, "Test accuracy against photos per class") as figure:
        axes = figure.subplots()
        curves = {
            "accuracy": [row["accuracy"] for row in rows],
            "macro accuracy": [row["macro_accuracy"] for row in rows],
        }
        for (name, found), color in zip(curves.items(), (PRIMARY, ACCENT), strict=True):
            low, high = [100 * each["low"] for each in found], [100 * each["high"] for each in found]
            axes.fill_between(sizes, low, high, color=color, alpha=0.15, linewidth=0)
            mean, margin = [100 * each["mean"] for each in found], [100 * each["margin"] for each in found]
            axes.errorbar(sizes, mean, margin, fmt="o-", color=color, capsize=3, markersize=4, label=name)
        axes.set_xscale("log")
        axes.set_xticks(sizes, names)
        axes.minorticks_off()
        axes.set_xlabel("photos per class; bars: 95 % interval of the mean, bands: 95 % of single draws")
        axes.set_ylabel("test accuracy, %")
        axes.legend(loc="lower right")
