"""Choose the Keras backend, its precision and its seeds: all of it before Keras is imported."""

import contextlib
import ctypes
import importlib
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fashion.errors import FashionError

Backend = Literal["jax", "tensorflow"]
Precision = Literal["float32", "mixed_bfloat16"]

# A training step of EfficientNetB0 is a program of 6 MB; what was not used for longest goes first.
COMPILATION_CACHE_BYTES = 2 * 2**30


def cache_folder() -> Path:
    """Return the per-user cache folder, shared by every run and every job of a sweep on this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fashion"


def select(
    backend: Backend,
    *,
    seed: int = 0,
    precision: Precision = "float32",
    deterministic: bool = False,
    tensorflow_beside_jax: bool = False,
) -> None:
    """Import Keras on one backend, ready to build models.

    Args:
        backend: The Keras backend of this process; it cannot be changed later.
        seed: Seeds Python, NumPy and the backend, and with them initial weights and dropout.
        precision: Keras dtype policy of every layer built from now on.
        deterministic: Make TensorFlow choose reproducible kernels. XLA's CPU kernels are so by themselves; on a GPU
            the flag is passed to XLA too.
        tensorflow_beside_jax: Let JAX processes import TensorFlow (the TensorBoard callback writes with it).

    Raises:
        FashionError: When Keras is already running on another backend in this process, or the backend's package is
            not installed.
    """
    _refuse_second_backend(backend)
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        (_prepare_jax if backend == "jax" else _prepare_tensorflow)(deterministic)
    except ModuleNotFoundError as error:
        raise FashionError(f"backend {backend}: {error}; install it, or choose the other backend") from None
    if backend == "jax":
        if tensorflow_beside_jax:
            _let_in_tensorflow()
        else:
            _keep_out_tensorflow()
    keras = importlib.import_module("keras")
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


def on_cpu() -> bool:
    """Return whether Keras, already on its backend, has nothing but CPUs to compute on."""
    keras = importlib.import_module("keras")
    return all("cpu" in device.lower() for device in keras.distribution.list_devices())


def _refuse_second_backend(backend: Backend) -> None:
    keras = sys.modules.get("keras")
    if keras is not None and keras.backend.backend() != backend:
        raise FashionError(
            f"backend {backend} was asked for, but Keras already runs on {keras.backend.backend()} in this process; "
            f"start a new process, or set KERAS_BACKEND={backend} before Keras is imported"
        )


class _NoTensorFlow:
    """An import finder for which TensorFlow is not installed.

    Keras imports TensorFlow, where it can, to compare types while it saves and loads: seconds and hundreds of MB that
    a process on JAX does not owe.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Refuse TensorFlow, and leave every other module to the finders that follow."""
        if name == "tensorflow":
            raise ModuleNotFoundError("kept out of this process, which runs on JAX", name=name)


def _keep_out_tensorflow() -> None:
    if "tensorflow" not in sys.modules and _NoTensorFlow not in sys.meta_path:
        sys.meta_path.insert(0, _NoTensorFlow)


def _let_in_tensorflow() -> None:
    if _NoTensorFlow in sys.meta_path:
        sys.meta_path.remove(_NoTensorFlow)
    _import_tensorflow()


def _prepare_jax(deterministic: bool) -> None:
    _keep_freed_memory()
    if deterministic and "xla_gpu_deterministic_ops" not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    jax = importlib.import_module("jax")
    # A training step of EfficientNetB0 compiles for 15 s; from the second run on it is read from here. The small
    # programs are kept too: 132 that draw initial weights take 6 s to compile and 0.7 s to read.
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_compilation_cache_max_size", COMPILATION_CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _keep_freed_memory() -> None:
    """Let glibc keep the memory that XLA frees after each step, for the next one.

    By default it goes back to the system: 64,000 page faults a step of EfficientNetB0, 180 ms instead of 90 (2 cores,
    AMD Zen 4). One arena, because those of threads cannot grow past 64 MiB; no ``mmap``, because that always gives
    back.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    # Numbers of malloc.h; mallopt(3).
    trim_threshold, mmap_max, arena_max = -1, -4, -8
    libc = ctypes.CDLL(None)
    for parameter, value in ((arena_max, 1), (mmap_max, 0), (trim_threshold, 2**31 - 1)):
        libc.mallopt(parameter, value)


def _prepare_tensorflow(deterministic: bool) -> None:
    tensorflow = _import_tensorflow()
    if deterministic:
        tensorflow.config.experimental.enable_op_determinism()
    for gpu in tensorflow.config.list_physical_devices("GPU"):
        tensorflow.config.experimental.set_memory_growth(gpu, True)


def _import_tensorflow() -> Any:
    with _quiet_standard_error():
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.list_physical_devices()  # the device drivers are loaded, and complained of, here
    return tensorflow


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Keep what C++ code writes to standard error, and show it only when the block fails.

    While TensorFlow 2.21 is imported its log level is not yet in force, and it tells every user of missing GPUs.
    """
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(original, kept.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
