"""How fast the fast layers are beside stock Keras layers: a training step's forward pass and gradients, by image size.

``python -m fashion.benchmarks.layer_speed MODEL SIZE CHANNELS BATCH BACKEND PRECISION ROUNDS`` measures one case in a
process of its own, and prints it as JSON.
"""

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from fashion import machine
from fashion.backend.imports import import_keras
from fashion.backend.memory import keep_freed_memory
from fashion.backend.selection import start_backend
from fashion.benchmarks import child
from fashion.benchmarks.progress import say
from fashion.config.build import build
from fashion.config.command import training_configuration
from fashion.data.dataset import PixelStatistics

CLASSES = 10
PACKAGES = ("keras", "jax", "tensorflow-cpu", "numpy")


class Case(TypedDict):
    """One network at one size: milliseconds of the fastest step, and seconds of the first, which compiles."""

    model: str
    size: int
    channels: int
    batch: int
    backend: str
    precision: str
    used: str
    stock_ms: float
    fast_ms: float
    stock_first_seconds: float
    fast_first_seconds: float


class LayerSpeed(TypedDict):
    """The result of the benchmark."""

    machine: machine.MachineDescription
    rounds: int
    cases: list[Case]


def measure(
    models: Iterable[str],
    sizes: Iterable[int],
    channels: Iterable[int],
    batches: Iterable[int],
    backends: Iterable[str],
    precision: str,
    rounds: int,
) -> LayerSpeed:
    """Measure every combination, each in a process of its own in which stock and fast layers take turns.

    Args:
        models: Choices of ``model``.
        sizes: Sides of the images in pixels.
        channels: 1, 3 or both.
        batches: Images in a step.
        backends: ``jax``, ``tensorflow`` or both.
        precision: ``float32``, or a mixed one.
        rounds: Steps of each; the fastest is reported.

    Raises:
        InputError: A process stopped; the message has its last line.
    """
    cases: list[Case] = []
    for case in itertools.product(models, sizes, channels, batches, backends):
        model, size, channel, batch, backend = case
        arguments = [model, size, channel, batch, backend, precision, rounds]
        with tempfile.TemporaryDirectory() as cache:  # no program is compiled yet
            printed = child.run(
                f"benchmark: {model} at {size} pixels on {backend} stopped",
                [sys.executable, "-m", __name__, *arguments],
                TF_CPP_MIN_LOG_LEVEL="3",
                XDG_CACHE_HOME=cache,
            )
        cases.append(json.loads(printed.splitlines()[-1]))
        say(_row(cases[-1]))
    return {"machine": machine.describe_machine(PACKAGES), "rounds": rounds, "cases": cases}


def measure_case(
    model: str, size: int, channels: int, batch: int, backend: str, precision: str, rounds: int, folder: Path
) -> Case:
    """Time one network in this process."""
    keep_freed_memory()
    start_backend(backend, precision=precision)  # type: ignore[arg-type]
    keras = import_keras()
    from fashion.models.fast_model import FastModel, is_faster

    pixels = PixelStatistics(mean=(0.5,) * channels, deviation=(0.25,) * channels)
    node = training_configuration(folder, f"model={model}")["model"]
    stock = build(node, input_shape=(size, size, channels), classes=CLASSES, pixels=pixels)
    step = {"jax": _jax_step, "tensorflow": _tensorflow_step}[keras.backend.backend()]
    random = np.random.default_rng(0)
    images = random.random((batch, size, size, channels), np.float32)
    labels = random.integers(0, CLASSES, batch)
    steps = {"stock": step(stock, images, labels), "fast": step(FastModel(stock.input, stock.output), images, labels)}
    first = {name: _seconds(call) for name, call in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, call in steps.items():
            times[name].append(_seconds(call))
    fastest = {name: 1000 * min(values) for name, values in times.items()}
    return {
        "model": model,
        "size": size,
        "channels": channels,
        "batch": batch,
        "backend": backend,
        "precision": precision,
        "used": "fast" if is_faster(stock) else "stock",
        "stock_ms": round(fastest["stock"], 2),
        "fast_ms": round(fastest["fast"], 2),
        "stock_first_seconds": round(first["stock"], 1),
        "fast_first_seconds": round(first["fast"], 1),
    }


def _jax_step(model: Any, images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    import jax
    import keras

    def loss(weights: Any, state: Any, x: Any, y: Any) -> Any:
        probabilities, state = model.stateless_call(weights, state, x, training=True)
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, probabilities)), state

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    weights, state = ([v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables))
    x, y = jax.numpy.asarray(images), jax.numpy.asarray(labels)
    return lambda: jax.block_until_ready(step(weights, state, x, y))


def _tensorflow_step(model: Any, images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    import keras
    import tensorflow as tf

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            probabilities = model(x, training=True)
            loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, probabilities))
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    x, y = tf.constant(images), tf.constant(labels)
    return lambda: [each.numpy() for each in tf.nest.flatten(step(x, y))]


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def table(result: LayerSpeed) -> str:
    """Return the result as the lines that a terminal shows."""
    lines = [machine.summarise_machine(result["machine"], result["machine"]["versions"]), ""]
    lines.append("model           image          batch  backend        stock      fast   gain   first step  used")
    return "\n".join([*lines, *map(_row, result["cases"])])


def _row(case: Case) -> str:
    cells = [
        f"{case['model']:<14}",
        f"{case['size']} x {case['size']} x {case['channels']}".ljust(13),
        f"{case['batch']:>5}",
        f"{case['backend']:<10}",
        f"{case['stock_ms']:>6.0f} ms",
        f"{case['fast_ms']:>5.0f} ms",
        f"{case['stock_ms'] / case['fast_ms']:>5.2f}",
        f"{case['stock_first_seconds']:>4.0f} s {case['fast_first_seconds']:>3.0f} s",
        case["used"],
    ]
    return "  ".join(cells)


if __name__ == "__main__":
    _model, _size, _channels, _batch, _backend, _precision, _rounds = sys.argv[1:]
    with tempfile.TemporaryDirectory() as _folder:
        print(json.dumps(measure_case(
            _model, int(_size), int(_channels), int(_batch), _backend, _precision, int(_rounds), Path(_folder)
        )))  # fmt: skip
