"""What starting a backend does to the process."""

import json
import os
import subprocess
import sys

import pytest

from fashion.backend.selection import start_backend
from fashion.errors import FashionError
from fashion.paths import PROJECT

PROGRAM = """
import json, sys
from fashion.backend.memory import keep_freed_memory
from fashion.backend.selection import start_backend
keep_freed_memory()
start_backend("jax")
loaded = [name for name in ("tensorflow", "sklearn", "matplotlib") if name in sys.modules]
import matplotlib, sklearn
try:
    import tensorflow
except ModuleNotFoundError as error:
    refusal = str(error)
memory = open("/proc/self/smaps").read() if sys.platform == "linux" else ""
advised = [line for line in memory.splitlines() if line.startswith("VmFlags") and " hg" in line]
print(json.dumps([loaded, refusal, len(advised)]))
"""


@pytest.fixture(scope="module")
def process_on_jax(starts_processes):
    """What a fresh process on JAX reports: imported packages, why TensorFlow was refused, mappings in huge pages."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_jax_comes_alone_and_only_tensorflow_stays_excluded(process_on_jax):
    imported, refusal, _ = process_on_jax
    assert imported == []
    assert refusal.startswith("TensorFlow is excluded from this process by start_backend('jax')")


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are advised with glibc alone")
def test_freed_memory_is_kept_in_huge_pages(process_on_jax):
    *_, advised = process_on_jax
    assert advised >= 1


def test_a_second_backend_is_refused_in_the_same_process(keras_backend):
    other = {"jax": "tensorflow", "tensorflow": "jax"}[keras_backend]
    with pytest.raises(FashionError, match=f"{other} was requested, but Keras already runs on {keras_backend}"):
        start_backend(other)
