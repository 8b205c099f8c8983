"""How fast a folder of images becomes batches: decoded once into a store, or by Keras's loader in every epoch."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from PIL import Image

from fashion import machine
from fashion.backend.selection import Backend, start_backend
from fashion.data.image_files import ordered_classes, scan_folder
from fashion.data.image_rows import ImageRows
from fashion.data.store import open_store
from fashion.errors import InputError
from fashion.files import replacing
from fashion.paths import PROJECT
from fashion.plural import counted
from fashion.preprocessing.input_spec import InputSpec

CONTENDERS = ("keras", "store", "array")
NAMES = {
    "keras": "image_dataset_from_directory",
    "store": "data=folder",
    "array": "the same images as an array",
}
PACKAGES = ("keras", "jax", "tensorflow-cpu", "numpy", "pillow")
BATCH_SIZE = 64
EPOCHS = 3  # of which the first one compiles
CLASSES, COARSE = 10, 8  # of generated images: smooth, as photos are
QUALITY = 90


class Turn(TypedDict):
    """One turn of one contender, in a process of its own; imports are not counted.

    ``first_pass`` is the time until all images were read from their files once, ``start`` that of a later run until it
    can read images, ``epoch`` the time of an epoch of a small network.
    """

    files: int
    first_pass: float
    start: float
    epoch: float
    peak_memory_mb: float


class LoadingSpeed(TypedDict):
    """The result of the benchmark: medians over the turns, by contender."""

    machine: machine.MachineDescription
    backend: str
    image_size: int
    files: int
    rounds: int
    medians: dict[str, dict[str, float]]
    turns: dict[str, list[Turn]]


def generate(folder: Path, count: int, size: int) -> None:
    """Write random JPEG files into ten class folders, unless they are there.

    Args:
        folder: Gets the class folders.
        count: Number of files.
        size: Pixels a side.
    """
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / str(number % CLASSES) / f"{number:07d}.jpg"
        if not path.exists():
            coarse = np.random.default_rng(number).integers(0, 256, (COARSE, COARSE, 3), np.uint8)
            image = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
            with replacing(path) as partial:
                image.save(partial, quality=QUALITY)


def measure(root: Path, size: int, rounds: int, backend: Backend) -> LoadingSpeed:
    """Let the contenders read a folder of class folders in turns.

    Args:
        root: The folder: of one split, as Keras's loader expects it.
        size: Pixels a side of the images in a batch.
        rounds: Turns of each contender.
        backend: Trains the small network.

    Raises:
        InputError: When a turn fails.
    """
    for file in scan_folder(root):  # so that all turns find the files in memory
        (root / file.source).read_bytes()
    turns: dict[str, list[Turn]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            turns[name].append(_in_process(name, root, size, backend))
    medians = {
        name: {key: statistics.median(float(cast(Any, turn)[key]) for turn in own) for key in Turn.__annotations__}
        for name, own in turns.items()
    }
    return LoadingSpeed(
        machine=machine.describe_machine(PACKAGES),
        backend=backend,
        image_size=size,
        files=turns["store"][0]["files"],
        rounds=rounds,
        medians=medians,
        turns=turns,
    )


def table(result: LoadingSpeed) -> str:
    """Return the result as a table in Markdown."""
    files, cores = result["files"], result["machine"]["cores"] or 1
    size = result["image_size"]
    lines = [
        f"{files:,} files to {size} x {size} pixels, {cores} cores, {result['backend']}, "
        f"medians of {counted(result['rounds'], 'turn')}",
        "",
        "| | first pass | files/s a core | start of a later run | epoch of a small network | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["medians"].items():
        first = f"{files / row['first_pass']:,.0f} files/s | {files / row['first_pass'] / cores:,.0f}"
        lines.append(
            f"| {NAMES[name]} | {'- | -' if name == 'array' else first} | {row['start']:.2f} s | "
            f"{row['epoch']:.2f} s ({files / row['epoch']:,.0f} images/s) | {row['peak_memory_mb']:,.0f} MB |"
        )
    return "\n".join(lines)


def _in_process(name: str, root: Path, size: int, backend: str) -> Turn:
    with tempfile.TemporaryDirectory() as cache:
        code = "import sys; from fashion.benchmarks.loading_speed import turn; turn(*sys.argv[1:])"
        run = subprocess.run(
            [sys.executable, "-c", code, name, str(root), str(size), backend, cache],
            check=False,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
    if run.returncode:
        raise InputError(f"{NAMES[name]} failed with exit status {run.returncode}; the reason is above")
    return cast(Turn, json.loads(run.stdout.splitlines()[-1]))


def turn(name: str, root: str, size: str, backend: str, cache: str) -> None:
    """Measure one turn of a contender in this process, and print it as JSON."""
    contender = {"keras": keras_loader, "store": store, "array": array}[name]
    start_backend(cast(Backend, backend), tensorflow_beside_jax=True)
    print(json.dumps(measured_turn(contender, Path(root), int(size), Path(cache))))


def measured_turn(contender: "Callable[[Path, int, Path], Contender]", root: Path, size: int, cache: Path) -> Turn:
    """Measure one turn of a contender; Keras runs on its backend already."""
    first, start, batches, files, classes = contender(root, size, cache)
    epoch = _epoch_seconds(batches, size, classes)
    return Turn(files=files, first_pass=first, start=start, epoch=epoch, peak_memory_mb=machine.peak_memory_mb())


Contender = tuple[float, float, Any, int, int]  # seconds of first pass and of start, batches, files, classes


def keras_loader(root: Path, size: int, cache: Path) -> Contender:
    """Keras's ``image_dataset_from_directory``."""
    import keras

    def load() -> Any:
        return keras.utils.image_dataset_from_directory(
            root, image_size=(size, size), batch_size=BATCH_SIZE, seed=0, verbose=False
        )

    begin = time.perf_counter()
    files = sum(len(labels) for _, labels in load())
    first = time.perf_counter() - begin
    batches, start = _timed(load)
    return first, start, batches, files, len(batches.class_names)


def store(root: Path, size: int, cache: Path) -> Contender:
    """The store of ``data=folder``."""
    from fashion.data.batches import TrainingBatches, as_pipeline

    _, first = _timed(lambda: _load(root, size, cache))
    (images, labels), start = _timed(lambda: _load(root, size, cache))
    batches = as_pipeline(TrainingBatches(images, labels, BATCH_SIZE, seed=0))
    return first, start, batches, len(labels), int(labels.max()) + 1


def array(root: Path, size: int, cache: Path) -> Contender:
    """The same images in memory."""
    from fashion.data.batches import TrainingBatches, as_pipeline

    images, labels = _load(root, size, cache)
    in_memory, start = _timed(lambda: np.asarray(images))
    batches = as_pipeline(TrainingBatches(in_memory, labels, BATCH_SIZE, seed=0))
    return start, start, batches, len(labels), int(labels.max()) + 1


def _load(root: Path, size: int, cache: Path) -> tuple[Any, Any]:
    """Return all images of a folder, which are decoded unless the cache has them, and their labels."""
    files = scan_folder(root)
    spec = InputSpec(height=size, width=size, channels=3, preprocessing="resize")
    stored = open_store(root, [file.source for file in files], spec, cache, 10**12)
    numbers = {name: number for number, name in enumerate(ordered_classes(file.label for file in files))}
    return ImageRows(stored.pixels, stored.rows), np.array([numbers[file.label] for file in files])


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin


def _epoch_seconds(batches: Any, size: int, classes: int) -> float:
    import keras

    keras.utils.set_random_seed(0)
    layers: Sequence[Any] = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(classes, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input((size, size, 3)), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy")

    class Clock(keras.callbacks.Callback):
        """Takes the time at the end of each epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.times: list[float] = []

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            self.times.append(time.perf_counter())

    clock = Clock()
    model.fit(batches, epochs=EPOCHS, verbose=0, shuffle=False, callbacks=[clock])
    return float(np.diff(clock.times).min())
