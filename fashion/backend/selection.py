"""Start Keras on one backend: the first thing a process does that computes, and possible once."""

import importlib
import os
import random
import sys
from typing import Literal

import numpy as np

from fashion.backend import coordination
from fashion.backend.imports import allow_tensorflow, exclude_tensorflow, import_keras, import_tensorflow
from fashion.backend.jax_environment import (
    check_xla_flags,
    import_jax,
    initialise_devices,
    keep_compiled_programs,
    make_xla_deterministic,
)
from fashion.backend.memory import collect_garbage_less_often
from fashion.backend.process_group import ProcessGroup
from fashion.backend.signals import deferred_signals
from fashion.errors import InputError

Backend = Literal["jax", "tensorflow"]
Runtime = Literal["keras", "onnx"]  # what computes predictions: Keras on its backend, or ONNX Runtime without either
Precision = Literal["float32", "mixed_bfloat16"]


def start_backend(
    backend: Backend,
    *,
    seed: int = 0,
    precision: Precision = "float32",
    deterministic: bool = False,
    tensorflow_beside_jax: bool = False,
    computes: bool = True,
    processes: ProcessGroup | None = None,
) -> None:
    """Import Keras on one backend, ready to build models, whatever ``keras.json`` in ``~/.keras`` says.

    Args:
        backend: The Keras backend of this process; it cannot be changed later.
        seed: Seeds Python, NumPy and the backend, and with them initial weights and dropout.
        precision: Keras dtype policy of every layer built from now on.
        deterministic: Make TensorFlow choose reproducible kernels. XLA's CPU kernels are reproducible anyway; for GPUs
            the flag is passed to XLA too.
        tensorflow_beside_jax: Let a JAX process import TensorFlow (the TensorBoard callback writes with it).
        computes: Whether this process will compute; one that does not needs none of the devices that others will use.
        processes: The processes whose devices JAX is to have, if not only this one's.

    Raises:
        InputError: When Keras already runs on another backend in this process, the backend's package is not installed,
            or JAX cannot use what the environment asks for.
        KeyboardInterrupt: When a signal arrived while this process waited for the others.
    """
    _refuse_second_backend(backend)
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if processes and os.environ.get("FASHION_DEBUG") != "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "4"  # coordination says why JAX ends this process, in place of 20 lines
    collect_garbage_less_often()
    with deferred_signals():
        try:
            if backend == "jax":
                _start_jax(deterministic, tensorflow_beside_jax)
            else:
                _start_tensorflow(deterministic)
        except ModuleNotFoundError as error:
            raise InputError(f"backend {backend}: {error}; install it, or choose the other backend") from None
    if processes:
        coordination.connect(processes)
    with deferred_signals():
        if backend == "jax" and computes:
            initialise_devices()
        keras = import_keras()
    keras.config.set_dtype_policy(precision)
    seed_everything(seed)


def seed_everything(seed: int) -> None:
    """Seed every random source that Keras, NumPy and the backend draw from.

    ``keras.utils.set_random_seed`` does the same but imports TensorFlow on every backend.
    """
    random.seed(seed)  # Keras draws the seed of every initialiser and dropout layer from here
    np.random.seed(seed)
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        importlib.import_module("tensorflow").random.set_seed(seed)


def _refuse_second_backend(backend: Backend) -> None:
    keras = sys.modules.get("keras")
    if keras is not None and keras.backend.backend() != backend:
        raise InputError(
            f"backend {backend} was requested, but Keras already runs on {keras.backend.backend()} in this process; "
            f"start a new process, or set KERAS_BACKEND={backend} before Keras is imported"
        )


def _start_jax(deterministic: bool, tensorflow_beside_jax: bool) -> None:
    import_jax()
    check_xla_flags()
    if deterministic:
        make_xla_deterministic()
    keep_compiled_programs()
    if tensorflow_beside_jax:
        allow_tensorflow()
        import_tensorflow()
    else:
        exclude_tensorflow()


def _start_tensorflow(deterministic: bool) -> None:
    tensorflow = import_tensorflow()
    if deterministic:
        tensorflow.config.experimental.enable_op_determinism()
    for gpu in tensorflow.config.list_physical_devices("GPU"):
        tensorflow.config.experimental.set_memory_growth(gpu, True)
