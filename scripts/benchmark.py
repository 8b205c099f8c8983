"""Measure this project and its alternatives: ``python scripts/benchmark.py --help`` lists the benchmarks."""

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

from fashion.artifact import Artifact
from fashion.backend.selection import start_backend
from fashion.cli import WRONG_INPUT, ArgumentParser, with_exit_status
from fashion.files import write_json, write_text
from fashion.paths import BENCHMARKS, DATA, default_model
from fashion.preprocessing.limits import use_one_opencv_thread


def main() -> None:
    """Print the table; write it as JSON, and a chart or a page beside it."""
    parser = _parser()
    options, others = parser.parse_known_args()
    # argparse would take overrides before the first flag alone.
    if others and (options.measure not in TRAINS or any(each.startswith("-") for each in others)):
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options.overrides = others
    use_one_opencv_thread()
    options.measure(options)


def _training(options: argparse.Namespace) -> None:
    from fashion.benchmarks import training_speed

    contenders = training_speed.available()
    if "onnx" not in contenders:
        print('ONNX Runtime is skipped; "make benchmark" installs it', file=sys.stderr)
    _show("training", training_speed, training_speed.measure(options.rounds, options.steps, contenders), options.folder)


def _layers(options: argparse.Namespace) -> None:
    from fashion.benchmarks import layer_speed

    result = layer_speed.measure(
        options.models,
        options.sizes,
        options.channels,
        options.batches,
        options.backends,
        options.precision,
        options.rounds,
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    write_json(options.folder / "layers.json", {**_provenance(), **result})
    print(f"{layer_speed.table(result)}\n\nwritten: {options.folder / 'layers.json'}")


def _precision(options: argparse.Namespace) -> None:
    from fashion.benchmarks import precision_speed

    recipes = [each for each in options.recipes if "=" not in each] or precision_speed.RECIPES
    overrides = [each for each in options.recipes if "=" in each]
    result = precision_speed.measure(recipes, overrides, options.rounds, options.steps)
    options.folder.mkdir(parents=True, exist_ok=True)
    write_json(options.folder / "precision.json", {**_provenance(), **result})
    print(f"{precision_speed.table(result)}\n\nwritten: {options.folder / 'precision.json'}")


def _loading(options: argparse.Namespace) -> None:
    from fashion.benchmarks import loading_speed

    root = options.root
    if root is None:
        root = BENCHMARKS / f"generated_{options.generate}_{options.image_size}"
        loading_speed.generate(root, options.generate, options.image_size)
    result = loading_speed.measure(root, options.image_size, options.rounds, options.backend)
    options.folder.mkdir(parents=True, exist_ok=True)
    write_json(options.folder / "loading.json", {**_provenance(), **result})
    print(f"{loading_speed.table(result)}\n\nwritten: {options.folder / 'loading.json'}")


def _serving(options: argparse.Namespace) -> None:
    from fashion.benchmarks import serving_speed

    _show(
        "serving",
        serving_speed,
        serving_speed.measure(options.artifact, options.seconds, options.rounds),
        options.folder,
    )


def _transfer(options: argparse.Namespace) -> None:
    from fashion.benchmarks import transfer_speed

    result = transfer_speed.measure(
        options.root.absolute(),
        ["experiment=transfer", *options.overrides],
        options.accuracy,
        options.epochs,
        options.fine_tuning_epochs,
        options.rounds,
    )
    _show("transfer", transfer_speed, result, options.folder)


def _photos_per_class(options: argparse.Namespace) -> None:
    from fashion.config.command import training_configuration
    from fashion.training.training_settings import start_training

    folder = options.folder.absolute()
    overrides = ["experiment=transfer", f"data.root={options.root.absolute()}", f"data.cache={folder / 'decoded'}"]
    config = training_configuration(folder, *overrides, *options.overrides)
    settings = start_training(config)
    from fashion.benchmarks import photos_per_class  # imports Keras, on the backend just chosen

    result = photos_per_class.measure(config, settings, options.draws)
    _show("photos_per_class", photos_per_class, result, options.folder)


def _photos(options: argparse.Namespace) -> None:
    start_backend(options.backend)
    from fashion.benchmarks import labelled_photos, photo_accuracy  # these import Keras, on the backend just chosen
    from fashion.benchmarks.photo_sheet import sheet
    from fashion.inference.predictor import Predictor

    predictor, loaded = Predictor.load(options.artifact)
    classes = loaded.card.classes
    mapping = labelled_photos.read_mapping(options.mapping or labelled_photos.MAPPING, classes)
    photos, unreadable = labelled_photos.readable(labelled_photos.find_photos(options.photos, mapping))
    for message in unreadable:
        print(f"error: {message}; it is skipped", file=sys.stderr)
    result = photo_accuracy.measure(photos, predictor, classes)
    options.folder.mkdir(parents=True, exist_ok=True)
    content = {**_provenance(), **result, "model": _model(loaded), "unreadable": unreadable}
    write_json(options.folder / "photos.json", content)
    write_text(options.folder / "photos.html", sheet(photos, result))
    print(f"{loaded.path}\n{photo_accuracy.table(result)}")
    print(f"\nwritten: {options.folder / 'photos.json'} and photos.html, which shows every photo")
    if unreadable:
        sys.exit(WRONG_INPUT)


def _renderings(options: argparse.Namespace) -> None:
    start_backend(options.backend)
    from fashion.benchmarks import renderings  # imports Keras, on the backend just chosen
    from fashion.data.fashion_mnist.idx_files import load_idx_files
    from fashion.inference.predictor import Predictor

    data = load_idx_files(options.data, download=True)
    predictor, loaded = Predictor.load(options.artifact)
    result = renderings.measure(data.test_images[: options.images], data.test_labels[: options.images], predictor)
    options.folder.mkdir(parents=True, exist_ok=True)
    write_json(options.folder / "renderings.json", {**_provenance(), **result, "model": _model(loaded)})
    print(f"{loaded.path}\n{renderings.table(result)}")
    print(f"\nwritten: {options.folder / 'renderings.json'}")


def _scenes(options: argparse.Namespace) -> None:
    start_backend(options.backend)
    from fashion.benchmarks import scenes  # imports Keras, on the backend just chosen
    from fashion.data.fashion_mnist.idx_files import load_idx_files
    from fashion.inference.predictor import Predictor

    data = load_idx_files(options.data, download=True)
    predictor, loaded = Predictor.load(options.artifact)
    answered = scenes.answer(data.test_images, data.test_labels, predictor, loaded.card.classes)
    (options.folder / "scenes").mkdir(parents=True, exist_ok=True)
    for each in answered:
        (options.folder / "scenes" / f"{each.scene.name}.jpg").write_bytes(each.photo)
    scenes.chart(answered, options.folder / "scenes.png")
    print(f"{loaded.path}\n{scenes.table(answered)}")
    print(f"\nwritten: {options.folder / 'scenes.png'} and the photos in {options.folder / 'scenes'}")


def _model(loaded: Artifact) -> dict[str, object]:
    """Return which model was measured, for the JSON."""
    return {"path": str(loaded.path), "sha256": loaded.card.sha256, "test": loaded.card.test.model_dump()}


def _records(options: argparse.Namespace) -> None:
    from fashion.benchmarks import recipe_records

    known = options.folder / "records.json"
    rows = json.loads(known.read_text())["rows"] if known.exists() else []
    fresh = recipe_records.measure(options.recipe, range(options.seeds), options.overrides, options.runs)
    _show("records", recipe_records, {"rows": recipe_records.merged(rows, fresh)}, options.folder)


TRAINS = (_transfer, _photos_per_class, _records)  # these take overrides of scripts/train.py


def _provenance() -> dict[str, str]:
    """Return the commit and the command of a result, for the JSON."""
    from fashion.runs.run_record import git_state

    return {
        "commit": str(git_state() or "not recorded"),
        "command": shlex.join(["python", "scripts/benchmark.py", *sys.argv[1:]]),
    }


def _show(name: str, benchmark: ModuleType, result: Mapping[str, object], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{name}.json", result if "rows" in result else {**_provenance(), **result})
    benchmark.chart(result, folder / f"{name}.png")
    print(benchmark.table(result))
    print(f"\nwritten: {folder / f'{name}.json'} and {name}.png")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(description="Measure this project and its alternatives.")
    what = parser.add_subparsers(required=True, metavar="WHAT")
    training = what.add_parser(
        "training",
        help="images/s of training and inference: the baseline, stock Keras, this project, ONNX Runtime (10 minutes)",
        description="Contenders run in turns, each in its own process; medians are printed. Keep the machine idle.",
    )
    training.add_argument(
        "--steps", type=_positive, default=40, help="steps of 128 images a turn (default: %(default)s)"
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
    layers.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16"), default="float32", help="(default: %(default)s)"
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
    measures = {
        training: _training, precision: _precision, loading: _loading, layers: _layers, serving: _serving,
        transfer: _transfer, per_class: _photos_per_class, photos: _photos, renderings: _renderings, scenes: _scenes,
        records: _records,
    }  # fmt: skip
    for each, measure in measures.items():
        each.set_defaults(measure=measure)
        if each in (training, precision, loading, layers, serving):
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


if __name__ == "__main__":
    with_exit_status(main)
