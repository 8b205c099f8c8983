"""The command line of ``scripts/benchmark.py``: its benchmarks, and the options of each."""

import argparse
import contextlib
from functools import partial
from pathlib import Path
from typing import get_args

from fashion.backend.selection import Precision
from fashion.cli import ArgumentParser
from fashion.paths import BENCHMARKS, DATA, default_model


def benchmark_parser() -> ArgumentParser:
    """Return the parser; ``what`` of its result is the benchmark's name."""
    parser = ArgumentParser(description="Measure this project and its alternatives.")
    what = parser.add_subparsers(required=True, dest="what", metavar="WHAT")
    training = what.add_parser(
        "training",
        help="images/s of training and inference: the baseline, stock Keras, this project, ONNX Runtime (17 minutes)",
        description="Contenders run in turns, each in its own process; medians are printed. Keep the machine idle.",
    )
    training.add_argument(
        "--steps", type=_positive, default=200, help="steps of 128 images a turn (default: %(default)s)"
    )
    layers = what.add_parser(
        "layers",
        help="milliseconds of forward pass and gradients, stock layers beside fast ones, by image size (an hour)",
        description="Each network, size and backend has a process of its own, in which stock and fast layers take "
        "turns; the fastest step is printed.",
    )
    layers.add_argument(
        "--models", nargs="+", default=["efficientnetb0", "resnet"], help="choices of model (default: %(default)s)"
    )
    layers.add_argument(
        "--sizes",
        nargs="+",
        type=_positive,
        default=[28, 32, 64, 96, 128, 224, 384],
        help="sides of the images in pixels (default: %(default)s)",
    )
    layers.add_argument(
        "--channels", nargs="+", type=int, choices=(1, 3), default=[1, 3], help="(default: %(default)s)"
    )
    layers.add_argument(
        "--batches", nargs="+", type=_positive, default=[32], help="images in a step (default: %(default)s)"
    )
    layers.add_argument(
        "--backends",
        nargs="+",
        choices=("jax", "tensorflow"),
        default=["jax", "tensorflow"],
        help="(default: %(default)s)",
    )
    precision = what.add_parser(
        "precision",
        usage="%(prog)s [RECIPE ...] [KEY=VALUE ...] [--rounds ROUNDS] [--steps STEPS] [--folder FOLDER]",
        help="milliseconds of a training step on each backend and in each precision, and what auto chooses (minutes)",
        description="Four ways of training a recipe take turns, each in its own process. Keep the machine idle.",
    )
    precision.add_argument(
        "recipes", nargs="*", metavar="RECIPE", help="choices of experiment (default: those for Fashion-MNIST)"
    )
    precision.add_argument("--steps", type=_positive, default=20, help="steps of a turn (default: %(default)s)")
    loading = what.add_parser(
        "loading",
        help="files/s from a folder of images to batches, compared with Keras's loader (minutes)",
        description="Contenders read the same folder in turns, each in its own process. Keep the machine idle.",
    )
    loading.add_argument("--root", type=Path, help="a folder of class folders (default: generated images)")
    loading.add_argument(
        "--generate", type=_positive, default=20_000, help="number of generated images (default: %(default)s)"
    )
    loading.add_argument(
        "--image-size", type=_positive, default=64, help="pixels a side in a batch (default: %(default)s)"
    )
    transfer = what.add_parser(
        "transfer",
        usage="%(prog)s ROOT [KEY=VALUE ...] [OPTION ...]",
        help="seconds from a folder of photos to a classifier, compared with the program of Keras's guide (10 minutes)",
        description="Both train on the same photos in turns, in processes of their own, with nothing cached. Keep the "
        "machine idle.",
    )
    transfer.add_argument(
        "--accuracy", type=_share, default=0.85, help="test accuracy to reach, as a share (default: %(default)s)"
    )
    transfer.add_argument(
        "--epochs", type=_positive, default=20, help="of the guide's last layer, at most (default: %(default)s)"
    )
    transfer.add_argument(
        "--fine-tuning-epochs",
        type=partial(_positive, lowest=0),
        default=10,
        help="of the guide's whole network after that, at most (default: %(default)s)",
    )
    transfer.add_argument("--rounds", type=_positive, default=1, help="turns of each (default: %(default)s)")
    per_class = what.add_parser(
        "photos_per_class",
        usage="%(prog)s ROOT [KEY=VALUE ...] [--draws DRAWS] [--folder FOLDER]",
        help="test accuracy of experiment=transfer with 5, 10, 20, 50 and all photos of each class (minutes)",
        description="Features are computed once; the last layer is fitted to random subsets of the training photos.",
    )
    per_class.add_argument(
        "--draws", type=_positive, default=20, help="random subsets of each size (default: %(default)s)"
    )
    for each in (transfer, per_class):
        each.add_argument("root", type=Path, metavar="ROOT", help="class folders, or train and test with such folders")
    serving = what.add_parser(
        "serving",
        help="requests/s of the server, compared with the baseline and with servers that compute nothing (5 minutes)",
        description="Contenders are queried in turns over HTTP; medians are printed. Keep the machine idle.",
    )
    serving.add_argument("--seconds", type=_positive, default=5, help="length of a turn (default: %(default)s)")
    container = what.add_parser(
        "container",
        help="seconds until a new container of the image is ready, its memory, and the image's size (a minute)",
        description="Containers of the image that `make image` built start one after the other. Keep the machine idle.",
    )
    container.add_argument("--image", default="localhost/fashion", help="(default: %(default)s)")
    photos = what.add_parser(
        "photos",
        help="accuracy on photos, compared with simpler preprocessing (a minute for 300 photos)",
        description="One model classifies each photo of a folder of folders, preprocessed in each of several ways.",
    )
    photos.add_argument(
        "photos", type=Path, metavar="FOLDER", help="contains one folder of photos for each kind of garment"
    )
    photos.add_argument(
        "--mapping",
        type=Path,
        help="a YAML file with the correct classes for each folder (default: the one for the folders of "
        '"clothing dataset (small)")',
    )
    renderings = what.add_parser(
        "renderings",
        help="accuracy on the test images, rendered as shop images (2 minutes)",
        description="Each test image is sent as a 28 x 28 PNG, and as a JPEG of a product on near-white: 8 to 20 times "
        "as large, with random margins.",
    )
    renderings.add_argument(
        "--images", type=_positive, default=10_000, help="number of test images (default: %(default)s)"
    )
    scenes = what.add_parser(
        "scenes",
        help="draw test images as garments on floors, and how the photo pipeline classifies them (seconds)",
        description="Six rendered photos, for the documentation and to try the other commands with; not a measurement.",
    )
    records = what.add_parser(
        "records",
        help="accuracy of a recipe over seeds, and its training time (minutes to hours, depending on the recipe)",
        usage="%(prog)s RECIPE [KEY=VALUE ...] [--seeds SEEDS] [--runs RUNS] [--folder FOLDER]",
        description="A recipe is trained once for each seed; runs that are already complete are kept. KEY=VALUE "
        "overrides the recipe's own values. Keep the machine idle.",
    )
    records.add_argument("recipe", metavar="RECIPE", help="a choice of experiment: speedrun, tiny, ...")
    records.add_argument(
        "--seeds", type=_positive, default=5, help="number of seeds, counted from 0 (default: %(default)s)"
    )
    records.add_argument(
        "--runs", type=Path, default=BENCHMARKS / "runs", help="where the runs go (default: %(default)s)"
    )
    for each, whose in ((training, "of this project; the others train in float32 "), (layers, "")):
        each.add_argument(
            "--precision", choices=get_args(Precision), default="float32", help=f"{whose}(default: %(default)s)"
        )
    for each in what.choices.values():
        if each in (training, precision, loading, layers, serving, container):
            each.add_argument("--rounds", type=_positive, default=5, help="turns of each (default: %(default)s)")
        if each in (renderings, scenes):
            each.add_argument("--data", type=Path, default=DATA, help="the data set's folder (default: %(default)s)")
        if each in (loading, photos, renderings, scenes):
            each.add_argument("--backend", choices=("jax", "tensorflow"), default="jax", help="(default: %(default)s)")
        if each in (serving, photos, renderings, scenes):
            each.add_argument(
                "--artifact",
                type=Path,
                default=default_model(),
                help="a .keras file with its card, or the folder of a run (default: %(default)s)",
            )
        each.add_argument("--folder", type=Path, default=BENCHMARKS, help="where to write (default: %(default)s)")
    return parser


def _share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0, at most 1")


def _positive(text: str, lowest: int = 1) -> int:
    if not text.isdecimal() or int(text) < lowest:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from {lowest}")
    return int(text)
