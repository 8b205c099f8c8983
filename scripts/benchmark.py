"""Measure this project and its alternatives: ``python scripts/benchmark.py --help`` lists the benchmarks."""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from fashion.artifact import Artifact, verify
from fashion.backend.selection import start_backend
from fashion.benchmarks.command_line import benchmark_parser
from fashion.card import Card
from fashion.cli import WRONG_INPUT, with_exit_status
from fashion.config.arguments import normalise
from fashion.config.override_text import quote_path
from fashion.errors import InputError
from fashion.files import write_json, write_text
from fashion.paths import BENCHMARKS
from fashion.preprocessing.limits import use_one_opencv_thread
from fashion.runs.run_record import git_state


def main() -> None:
    """Print the table; write it as JSON, and a chart or a page beside it."""
    parser = benchmark_parser()
    options, others = parser.parse_known_args()
    # argparse would take overrides before the first flag alone.
    if others and (options.what not in TRAINS or any(each.startswith("-") for each in others)):
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options.overrides = normalise(others)
    # All that can be refused is refused before the hours of measuring.
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--folder: {options.folder} cannot be used ({error.strerror}); choose another") from None
    git_state()  # of the code that is measured, whatever is committed meanwhile
    use_one_opencv_thread()
    MEASURES[options.what](options)


def _training(options: argparse.Namespace) -> None:
    from fashion.benchmarks import training_speed

    contenders = training_speed.available()
    if "onnx" not in contenders:
        print('ONNX Runtime is skipped; "make benchmark" installs it', file=sys.stderr)
    result = training_speed.measure(options.rounds, options.steps, contenders, options.precision)
    _show("training", training_speed, result, options.folder)


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
    _show("layers", layer_speed, result, options.folder)


def _precision(options: argparse.Namespace) -> None:
    from fashion.benchmarks import precision_speed

    recipes = [each for each in options.recipes if "=" not in each] or precision_speed.RECIPES
    overrides = normalise([each for each in options.recipes if "=" in each])
    result = precision_speed.measure(recipes, overrides, options.rounds, options.steps)
    _show("precision", precision_speed, result, options.folder)


def _loading(options: argparse.Namespace) -> None:
    from fashion.benchmarks import loading_speed

    if options.root:
        root = options.root.absolute()
    else:
        root = BENCHMARKS / f"generated_{options.generate}_{options.image_size}"
        loading_speed.generate(root, options.generate, options.image_size)
    result = loading_speed.measure(root, options.image_size, options.rounds, options.backend)
    _show("loading", loading_speed, result, options.folder)


def _serving(options: argparse.Namespace) -> None:
    from fashion.benchmarks import serving_speed

    _refuse_other_model(*verify(options.artifact))
    _show(
        "serving",
        serving_speed,
        serving_speed.measure(options.artifact, options.seconds, options.rounds),
        options.folder,
    )


def _container(options: argparse.Namespace) -> None:
    from fashion.benchmarks import container_start

    result = container_start.measure(options.image, options.rounds)
    _show("container", container_start, result, options.folder)


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
    places = {"data.root": options.root.absolute(), "data.cache": folder / "decoded"}
    overrides = ["experiment=transfer", *(f"{key}={quote_path(place)}" for key, place in places.items())]
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
    print(f"{loaded.path}\n{photo_accuracy.table(result)}")
    content = {**_provenance(), **result, "model": _model(loaded), "unreadable": unreadable}
    write_json(options.folder / "photos.json", content)
    write_text(options.folder / "photos.html", sheet(photos, result))
    print(f"\nwritten: {options.folder / 'photos.json'} and photos.html, which shows every photo")
    if unreadable:
        sys.exit(WRONG_INPUT)


def _renderings(options: argparse.Namespace) -> None:
    start_backend(options.backend)
    from fashion.benchmarks import renderings  # imports Keras, on the backend just chosen
    from fashion.data.fashion_mnist.idx_files import load_idx_files
    from fashion.inference.predictor import Predictor

    predictor, loaded = Predictor.load(options.artifact)
    _refuse_other_model(loaded.path, loaded.card)
    data = load_idx_files(options.data, download=True)
    result = renderings.measure(data.test_images[: options.images], data.test_labels[: options.images], predictor)
    print(f"{loaded.path}\n{renderings.table(result)}")
    write_json(options.folder / "renderings.json", {**_provenance(), **result, "model": _model(loaded)})
    print(f"\nwritten: {options.folder / 'renderings.json'}")


def _scenes(options: argparse.Namespace) -> None:
    start_backend(options.backend)
    from fashion.benchmarks import scenes  # imports Keras, on the backend just chosen
    from fashion.data.fashion_mnist.idx_files import load_idx_files
    from fashion.inference.predictor import Predictor

    predictor, loaded = Predictor.load(options.artifact)
    _refuse_other_model(loaded.path, loaded.card)
    data = load_idx_files(options.data, download=True)
    answered = scenes.answer(data.test_images, data.test_labels, predictor, loaded.card.classes)
    (options.folder / "scenes").mkdir(parents=True, exist_ok=True)
    for each in answered:
        (options.folder / "scenes" / f"{each.scene.name}.jpg").write_bytes(each.photo)
    scenes.chart(answered, options.folder / "scenes.png")
    print(f"{loaded.path}\n{scenes.table(answered)}")
    print(f"\nwritten: {options.folder / 'scenes.png'} and the photos in {options.folder / 'scenes'}")


def _refuse_other_model(file: Path, card: Card) -> None:
    """Refuse a model of other images than those that the benchmark draws or sends.

    Raises:
        InputError: When it is not a model of Fashion-MNIST.
    """
    from fashion.data.fashion_mnist import CLASSES
    from fashion.preprocessing.fashion_mnist.spec import INPUT

    if (tuple(card.classes), card.input) != (CLASSES, INPUT):
        raise InputError(f"--artifact: {file} was trained on other images; choose one such as --artifact pretrained")


def _model(loaded: Artifact) -> dict[str, object]:
    """Return which model was measured, for the JSON."""
    return {"path": str(loaded.path), "sha256": loaded.card.sha256, "test": loaded.card.test.model_dump()}


def _records(options: argparse.Namespace) -> None:
    from fashion.benchmarks import recipe_records

    known = options.folder / "records.json"
    recipe_records.read_rows(known)
    fresh = recipe_records.measure(options.recipe, range(options.seeds), options.overrides, options.runs)
    rows = recipe_records.read_rows(known)  # again: another recipe may have been recorded during these hours
    _show("records", recipe_records, {"rows": recipe_records.merged(rows, fresh)}, options.folder)


TRAINS = ("transfer", "photos_per_class", "records")  # these take overrides of scripts/train.py


def _provenance() -> dict[str, str]:
    """Return the commit and the command of a result, for the JSON."""
    return {
        "commit": str(git_state() or "not recorded"),
        "command": shlex.join(["python", "scripts/benchmark.py", *sys.argv[1:]]),
    }


def _show(name: str, benchmark: ModuleType, result: Mapping[str, object], folder: Path) -> None:
    print(benchmark.table(result))  # first: nothing is lost on a full disk
    write_json(folder / f"{name}.json", result if "rows" in result else {**_provenance(), **result})
    print(f"\nwritten: {folder / f'{name}.json'}", end="")
    if hasattr(benchmark, "chart"):
        benchmark.chart(result, folder / f"{name}.png")
        print(f" and {name}.png", end="")
    print()


MEASURES = {
    measure.__name__.removeprefix("_"): measure
    for measure in (
        *(_training, _precision, _layers, _loading, _transfer, _photos_per_class),
        *(_serving, _container, _photos, _renderings, _scenes, _records),
    )
}

if __name__ == "__main__":
    with_exit_status(main)
