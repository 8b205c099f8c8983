"""The contenders of the training benchmark, each in a process of its own.

``python -m fashion.benchmarks.contenders NAME FOLDER [KEY=VALUE ...]`` reads one command in JSON from each line of
standard input, ``{"do": METHOD, ...arguments}``, and answers with one line of JSON.
"""

import abc
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from fashion import machine
from fashion.backend.imports import import_keras
from fashion.backend.memory import keep_freed_memory
from fashion.backend.selection import start_backend
from fashion.config.build import build
from fashion.config.command import training_configuration
from fashion.training.training_settings import start_training

BATCH_SIZE = 128
ONNX_FILE = "model.onnx"
# Excluded at the start of each turn: the first steps compile, with cold memory and caches.
WARM_UP_STEPS = 5
WARM_UP_SHARE = 0.2  # of the calls of an inference turn


class TrainingSeconds(TypedDict):
    """Seconds of some training steps, and of the very first, which compiles."""

    seconds: float
    first_step: float


class Contender(abc.ABC):
    """One way to run the network; most can train it too.

    Args:
        folder: Where contenders leave files for each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abc.abstractmethod
    def forward(self) -> dict[str, Callable[[np.ndarray], Any]]:
        """Return the ways to get ``(n, 10)`` probabilities of ``(n, 28, 28, 1)`` float32 images in [0, 1], by name."""

    def infer(self, batch: int, calls: int) -> dict[str, float]:
        """Return the median seconds of a call, for each way of calling."""
        images = np.random.default_rng(0).random((batch, 28, 28, 1), np.float32)
        return {name: _median_seconds(call, images, calls) for name, call in self.forward().items()}

    def peak_memory_mb(self) -> float:
        """Return the peak memory of this process."""
        return machine.peak_memory_mb()


class _Fit(Contender):
    """A compiled Keras model, trained by ``fit``."""

    model: Any

    @abc.abstractmethod
    def batches(self, steps: int) -> Any:
        """Return the input of ``fit``, at least ``steps`` batches."""

    def train(self, steps: int) -> TrainingSeconds:
        """Train for some steps, after the warm-up steps."""
        first, begin, end = 0, WARM_UP_STEPS - 1, WARM_UP_STEPS + steps - 1
        clock = _clock(first, begin, end)
        started = time.perf_counter()
        self.model.fit(self.batches(end + 1), steps_per_epoch=end + 1, epochs=1, verbose=0, callbacks=[clock])
        return {"seconds": clock.times[end] - clock.times[begin], "first_step": clock.times[first] - started}

    def matrix_product(self, size: int = 2048) -> float:
        """Return the GFLOP/s of a product of square matrices in the precision of the training: the roofline.

        It is the fastest of five, so that it is what the machine can do at this moment.
        """
        return _matrix_product_gflops(size, self.model.compute_dtype)


def _clock(*steps: int) -> Any:
    import keras

    class Clock(keras.callbacks.Callback):
        """Records the time at the end of these steps."""

        def __init__(self) -> None:
            super().__init__()
            self.times: dict[int, float] = {}

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            if batch in steps:
                float((logs or {})["loss"])  # JAX computes asynchronously: this waits for the step
                self.times[batch] = time.perf_counter()

    return Clock()


class Baseline(_Fit):
    """The program this project started from, to the letter: Keras's EfficientNetB0 on [0, 1], three random layers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        keep_freed_memory()  # as for this project's own contenders
        start_backend("tensorflow")
        import keras
        import tensorflow as tf
        from keras import layers

        data = build(training_configuration(folder)["data"], seed=0)
        images = data.train.images.astype(np.float32) / 255
        random = keras.Sequential(
            [layers.RandomRotation(10 / 360), layers.RandomTranslation(0.1, 0.1), layers.RandomZoom(0.1)]
        )
        inputs = keras.Input((28, 28, 1))
        base = keras.applications.EfficientNetB0(include_top=False, weights=None, input_tensor=inputs)
        x = layers.Dense(128, activation="relu")(layers.GlobalAveragePooling2D()(base.output))
        self.model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
        self.model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        shuffled = tf.data.Dataset.from_tensor_slices((images, data.train.labels)).shuffle(10000).repeat()
        self.dataset = shuffled.batch(BATCH_SIZE).map(
            lambda images, labels: (random(images, training=True), labels), tf.data.AUTOTUNE
        )

    def batches(self, steps: int) -> Any:
        """Return the endless ``tf.data`` pipeline."""
        return self.dataset.prefetch(2)

    def forward(self) -> dict[str, Callable[[np.ndarray], Any]]:
        """Return ``model.predict``, which that program calls, and TensorFlow's compiled call."""
        import tensorflow as tf

        compiled = tf.function(lambda images: self.model(images, training=False), jit_compile=False)
        return {"predict": lambda images: self.model.predict(images, verbose=0), "compiled": compiled}


class Project(_Fit):
    """This project as ``scripts/train.py`` runs it, with overrides."""

    overrides: tuple[str, ...] = ()

    def __init__(self, folder: Path, *overrides: str) -> None:
        super().__init__(folder)
        config = training_configuration(folder, *self.overrides, *overrides)
        self.batch_size = config["trainer"]["batch_size"]
        self.data = build(config["data"], seed=0)
        self.model = self.network(config)

    def network(self, config: dict[str, Any]) -> Any:
        """Choose the backend and compile the training network, as a run does."""
        settings = start_training(config)
        from fashion.training.fit import build_network

        return build_network(config, settings, self.data, steps=1)

    def batches(self, steps: int) -> Any:
        """Return the pipeline that a run reads."""
        from fashion.data.batches import TrainingBatches, as_pipeline

        images, labels = self.data.train.images, self.data.train.labels
        rows = np.arange(steps * self.batch_size) % len(images)  # a small data set is read several times
        return as_pipeline(TrainingBatches(images[rows], labels[rows], self.batch_size, seed=0))

    def forward(self) -> dict[str, Callable[[np.ndarray], Any]]:
        """Return the compiled call that ``predict`` and the server use."""
        if not hasattr(self, "_forward"):
            from fashion.inference.predictor import compiled

            self._forward = compiled(self.model.core)
        return {"compiled": self._forward}


class StockOnJax(Project):
    """The same network of Keras's own layers on JAX, without this project's settings of JAX."""

    def network(self, config: dict[str, Any]) -> Any:
        """Compile the training network with stock layers."""
        os.environ["KERAS_BACKEND"] = "jax"
        import_keras()
        from fashion.data.fashion_mnist import CLASSES, PIXELS
        from fashion.training.network import TrainingNetwork

        network = TrainingNetwork(
            build(config["model"], input_shape=(28, 28, 1), classes=len(CLASSES), pixels=PIXELS),
            build(config["augment"], seed=0),
            fast=False,
        )
        network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=True)
        return network


class ProjectOnTensorFlow(Project):
    """This project with ``trainer.backend=tensorflow``."""

    overrides = ("trainer.backend=tensorflow",)

    def export(self) -> str:
        """Write the network as ONNX for the contender that runs it."""
        from fashion.models.fast_model import stock_layers

        model = stock_layers(self.model.core)
        model(np.zeros((1, 28, 28, 1), np.float32))
        model.export(str(self.folder / ONNX_FILE), format="onnx", verbose=False)
        return ONNX_FILE


class OnnxRuntime(Contender):
    """The same network, exported, in ONNX Runtime (inference alone)."""

    def forward(self) -> dict[str, Callable[[np.ndarray], Any]]:
        """Return the call of the session."""
        if not hasattr(self, "_session"):
            onnxruntime = importlib.import_module("onnxruntime")  # an extra
            path = str(self.folder / ONNX_FILE)
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = self._session.get_inputs()[0].name
        return {"compiled": lambda images: self._session.run(None, {name: images})[0]}


CONTENDERS: dict[str, Callable[..., Contender]] = {
    "project": Project,
    "baseline": Baseline,
    "stock_jax": StockOnJax,
    "jax": Project,
    "tensorflow": ProjectOnTensorFlow,
    "onnx": OnnxRuntime,
}


def _matrix_product_gflops(size: int, dtype: str) -> float:
    import keras

    if keras.backend.backend() == "jax":
        import jax

        product = jax.jit(lambda matrix: matrix @ matrix)
    else:
        import tensorflow as tf

        product = tf.function(lambda matrix: tf.matmul(matrix, matrix), jit_compile=False)
    matrix = keras.ops.ones((size, size), dtype)
    _seconds(product, matrix)  # compiles
    return 2 * size**3 / min(_seconds(product, matrix) for _ in range(5)) / 1e9


def _seconds(call: Callable[[Any], Any], argument: Any) -> float:
    started = time.perf_counter()
    np.asarray(call(argument))
    return time.perf_counter() - started


def _median_seconds(call: Callable[[np.ndarray], Any], images: np.ndarray, calls: int) -> float:
    for _ in range(1 + int(WARM_UP_SHARE * calls)):  # the very first compiles
        np.asarray(call(images))
    return statistics.median(_seconds(call, images) for _ in range(calls))


def main() -> None:
    """Build the contender, report that it is ready, and execute commands until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    contender = CONTENDERS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    print(json.dumps("ready"), file=answers)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(contender, command.pop("do"))(**command)), file=answers)


if __name__ == "__main__":
    main()
