"""Choose the Keras backend, its precision and its seeds: all of it before Keras is imported."""

import contextlib
import ctypes
import functools
import gc
import importlib
import mmap
import os
import platform
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fashion.errors import InputError

Backend = Literal["jax", "tensorflow"]
Precision = Literal["float32", "mixed_bfloat16"]

# A training step of EfficientNetB0 is a program of 6 MB; what was not used for longest goes first.
COMPILATION_CACHE_BYTES = 2 * 2**30
# Of address space, for what a training step holds: 2.1 GB in batches of 128. Memory is used where it is written.
HEAP_BYTES = 4 * 2**30
LARGE_BLOCK_BYTES = 8 * 2**20
# New Python objects between two looks for garbage. Imports and JAX's traces make millions that stay; looking through
# them every 700 takes 0.7 s of a start of 10.
GARBAGE_THRESHOLD = 50_000


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
    keep_memory: bool = True,
) -> None:
    """Import Keras on one backend, ready to build models.

    Args:
        backend: The Keras backend of this process; it cannot be changed later.
        seed: Seeds Python, NumPy and the backend, and with them initial weights and dropout.
        precision: Keras dtype policy of every layer built from now on.
        deterministic: Make TensorFlow choose reproducible kernels. XLA's CPU kernels are so by themselves; on a GPU
            the flag is passed to XLA too.
        tensorflow_beside_jax: Let JAX processes import TensorFlow (the TensorBoard callback writes with it).
        keep_memory: Let freed memory stay with the process, which makes training fast; without it large blocks, such as
            the pictures that a server decodes, go back to the system.

    Raises:
        InputError: When Keras is already running on another backend in this process, or the backend's package is
            not installed.
    """
    _refuse_second_backend(backend)
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _keep_memory() if keep_memory else _give_back_large_memory()
    gc.set_threshold(GARBAGE_THRESHOLD, *gc.get_threshold()[1:])
    with _uninterrupted():
        try:
            (_prepare_jax if backend == "jax" else _prepare_tensorflow)(deterministic)
        except ModuleNotFoundError as error:
            raise InputError(f"backend {backend}: {error}; install it, or choose the other backend") from None
        if backend == "jax":
            if tensorflow_beside_jax:
                _let_in_tensorflow()
            else:
                _keep_out_tensorflow()
        keras = _import_keras()
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


def devices() -> str:
    """Return what Keras, already on its backend, computes on: ``cpu:0``, or ``gpu:0 (NVIDIA H100 80GB HBM3)``."""
    keras = importlib.import_module("keras")
    names = keras.distribution.list_devices()
    if on_cpu():
        return ", ".join(names)
    if keras.backend.backend() == "jax":
        kinds = [device.device_kind for device in importlib.import_module("jax").devices()]
    else:
        config = _import_tensorflow().config
        accelerators = [each for each in config.list_physical_devices() if each.device_type != "CPU"]
        details = map(config.experimental.get_device_details, accelerators)
        kinds = [each.get("device_name", "of unknown kind") for each in details]
    return ", ".join(f"{name} ({kind})" for name, kind in zip(names, kinds, strict=True))


def _refuse_second_backend(backend: Backend) -> None:
    keras = sys.modules.get("keras")
    if keras is not None and keras.backend.backend() != backend:
        raise InputError(
            f"backend {backend} was asked for, but Keras already runs on {keras.backend.backend()} in this process; "
            f"start a new process, or set KERAS_BACKEND={backend} before Keras is imported"
        )


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back: an exception while jaxlib's C++ modules are imported is a segmentation fault."""
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(number, lambda came_in, frame: came.append(came_in)) or signal.SIG_DFL for number in numbers
    ]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


class _KeptOut:
    """An import finder for which some packages are not installed.

    Keras imports what it can, to compare types while it saves and loads and to offer plots and wrappers: seconds and
    hundreds of MB that not every process owes.

    Args:
        packages: Names of top-level packages.
    """

    def __init__(self, *packages: str) -> None:
        self.packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse the packages, and leave every other module to the finders that follow."""
        if name in self.packages:
            raise ModuleNotFoundError("kept out of this process", name=name)


_NO_TENSORFLOW = _KeptOut("tensorflow")


def _import_keras() -> Any:
    """Import Keras without what it imports for its own plots and scikit-learn wrappers: 1 s."""
    no_extras = _KeptOut("matplotlib", "sklearn")
    sys.meta_path.insert(0, no_extras)
    try:
        return importlib.import_module("keras")
    finally:
        sys.meta_path.remove(no_extras)


def _keep_out_tensorflow() -> None:
    if "tensorflow" not in sys.modules and _NO_TENSORFLOW not in sys.meta_path:
        sys.meta_path.insert(0, _NO_TENSORFLOW)


def _let_in_tensorflow() -> None:
    if _NO_TENSORFLOW in sys.meta_path:
        sys.meta_path.remove(_NO_TENSORFLOW)
    _import_tensorflow()


def _prepare_jax(deterministic: bool) -> None:
    if deterministic and "xla_gpu_deterministic_ops" not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    jax = importlib.import_module("jax")
    # A training step of EfficientNetB0 compiles for 15 s; from the second run on it is read from here. The small
    # programs are kept too: 132 that draw initial weights take 6 s to compile and 0.7 s to read.
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_compilation_cache_max_size", COMPILATION_CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _give_back_large_memory() -> None:
    """Let glibc give large blocks back when they are freed, and not learn from their sizes to keep them.

    A picture of 25 megapixels comes in blocks of 16 MiB; kept, and broken up by smaller ones, they would add up.
    """
    if platform.libc_ver()[0] == "glibc":
        mmap_threshold = -3  # malloc.h; mallopt(3)
        ctypes.CDLL(None).mallopt(mmap_threshold, LARGE_BLOCK_BYTES)


@functools.cache
def _keep_memory() -> None:
    """Let glibc keep the memory that is freed after each step, in huge pages, for the next one.

    By default it goes back to the system, and comes again in pages of 4 KiB: 64,000 page faults a step of
    EfficientNetB0 on JAX, 180 ms instead of 90 (2 cores, AMD Zen 4). Kept, but in small pages, it is 130 ms.
    One arena, because those of threads cannot grow past 64 MiB; no ``mmap``, because that always gives back.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    # Numbers of malloc.h; mallopt(3).
    trim_threshold, mmap_max, arena_max = -1, -4, -8
    libc = ctypes.CDLL(None)
    for parameter, value in ((arena_max, 1), (mmap_max, 0), (trim_threshold, -1)):
        libc.mallopt(parameter, value)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # The heap grows by this much at once, without touching it, and keeps the advice when it is freed to it.
    if heap := libc.malloc(HEAP_BYTES):
        page = -(-heap // mmap.PAGESIZE) * mmap.PAGESIZE
        libc.madvise(page, HEAP_BYTES - mmap.PAGESIZE, mmap.MADV_HUGEPAGE)
        libc.free(heap)


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
