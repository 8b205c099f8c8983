"""What this machine's processor or GPU computes fast, for ``trainer.backend=auto`` and ``trainer.precision=auto``."""

import contextlib
import functools
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from fashion.backend.selection import Backend
from fashion.files import write_json
from fashion.machine import processor_name, versions
from fashion.paths import PROJECT, cache_folder

CPU_INFO = Path("/proc/cpuinfo")
FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16")  # instructions that multiply bfloat16, by Linux's names
PACKAGES: dict[Backend, tuple[str, ...]] = {"jax": ("jax",), "tensorflow": ("tensorflow-cpu", "tensorflow")}
MIN_COMPUTE_CAPABILITY = 8.0  # of NVIDIA GPUs with tensor cores for bfloat16: Ampere
JAX_GPU_PACKAGES = ("jax_cuda12_plugin", "jax_cuda13_plugin")
MIN_GAIN = 1.2  # of bfloat16 over float32, where that is measured: gradients in bfloat16 are less exact
MEASURE = """
import statistics, sys, time
import tensorflow as tf

def seconds(dtype):
    kernel = tf.Variable(tf.random.normal((3, 3, 64, 64), dtype=tf.float32))
    images = tf.cast(tf.random.normal((64, 32, 32, 64)), dtype)

    @tf.function(jit_compile=False)
    def step():
        with tf.GradientTape() as tape:
            maps = tf.nn.conv2d(images, tf.cast(kernel, dtype), 1, "SAME")
            loss = tf.reduce_sum(tf.cast(maps, tf.float32))
        return tape.gradient(loss, kernel)

    def timed():
        started = time.perf_counter()
        step().numpy()
        return time.perf_counter() - started

    timed()
    return statistics.median(timed() for _ in range(7))

print(seconds(tf.float32) / seconds(tf.bfloat16))
"""


class Processor(NamedTuple):
    """What a network is trained on.

    Attributes:
        name: Of the GPU if JAX can use one, else of the CPU.
        is_gpu: Whether it is a GPU.
        fast_bfloat16: Whether convolutions in bfloat16 are faster there than in float32.
        reason: How that is known, to follow the name.
    """

    name: str
    is_gpu: bool
    fast_bfloat16: bool
    reason: str


@functools.cache  # a sweep asks for each of its jobs
def find_processor(*, with_gpu: bool = True) -> Processor:
    """Return what a network would be trained on: by its features, and only where they say nothing by a measurement.

    Args:
        with_gpu: Whether a GPU counts: only JAX is installed for one.
    """
    gpu = find_gpu() if with_gpu else None
    if gpu:
        name, capability = gpu
        fast = capability >= MIN_COMPUTE_CAPABILITY
        return Processor(name, True, fast, f"with compute capability {capability}")
    name, features = processor_name(), cpu_features()
    found = next((feature for feature in FAST_BFLOAT16 if feature in features), None)
    if found:
        return Processor(name, False, True, f"with {found}")
    if "sse2" in features:  # x86
        return Processor(name, False, False, f"without {' and '.join(FAST_BFLOAT16)}")
    gain = _measured_gain(name)
    if gain is None:
        return Processor(name, False, False, "on which bfloat16 could not be measured")
    return Processor(name, False, gain >= MIN_GAIN, f"on which bfloat16 is {gain:.1f} times as fast")


def cpu_features() -> set[str]:
    """Return the names of the CPU's features; none where the system does not list them."""
    with contextlib.suppress(OSError):
        for line in CPU_INFO.read_text().splitlines():
            if line.startswith(("flags", "Features")):  # x86, ARM
                return set(line.partition(":")[2].split())
    return set()


def backend_version(backend: Backend) -> str | None:
    """Return the version of a backend's package; None if it is not installed. Nothing is imported."""
    return next((version for name, version in versions(PACKAGES[backend]).items() if name != "python"), None)


def find_gpu() -> tuple[str, float] | None:
    """Return name and compute capability of the first NVIDIA GPU, if JAX is installed for it and may use it."""
    platforms = os.environ.get("JAX_PLATFORMS", "cuda").split(",")
    if not {"cuda", "gpu", ""} & set(platforms) or not any(map(importlib.util.find_spec, JAX_GPU_PACKAGES)):
        return None
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in {"", "-1"}:
        return None
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        name, _, capability = listed.splitlines()[0].rpartition(", ")
        return name, float(capability)
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None


def _measured_gain(name: str) -> float | None:
    """Return how much faster TensorFlow convolves in bfloat16 than in float32; measured once, in a few seconds."""
    key = f"{name}, {platform.machine()}, tensorflow {backend_version('tensorflow')}"
    file = cache_folder() / "bfloat16.json"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError):
        known = dict(json.loads(file.read_text()))
    if key not in known:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            measured = subprocess.run(
                [sys.executable, "-c", MEASURE],
                cwd=PROJECT,
                env=environment,
                capture_output=True,
                check=True,
                text=True,
            )
            known[key] = round(float(measured.stdout), 2)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, known)
    return known[key]
