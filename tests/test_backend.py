"""What choosing a backend does to the process."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fashion import backend
from fashion.errors import FashionError
from fashion.paths import PROJECT

GPUS = (("GPU", "H100"), ("GPU", "A100"))
PROGRAM = """
import json, sys
from fashion import backend
backend.select("jax")
loaded = [name for name in ("tensorflow", "sklearn", "matplotlib") if name in sys.modules]
import matplotlib, sklearn
try:
    import tensorflow
except ModuleNotFoundError:
    loaded.append("no tensorflow")
memory = open("/proc/self/smaps").read() if sys.platform == "linux" else ""
advised = [line for line in memory.splitlines() if line.startswith("VmFlags") and " hg" in line]
print(json.dumps([loaded, len(advised)]))
"""


@pytest.fixture(scope="module")
def process_on_jax():
    """What a fresh process on JAX says: the packages that were imported, and the mappings in huge pages."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_jax_comes_alone_and_only_tensorflow_stays_out(process_on_jax):
    imported, _ = process_on_jax
    assert imported == ["no tensorflow"]


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are advised with glibc alone")
def test_memory_is_kept_in_huge_pages(process_on_jax):
    _, advised = process_on_jax
    assert advised >= 1


def test_a_second_backend_is_refused_in_the_same_process(keras_backend):
    other = {"jax": "tensorflow", "tensorflow": "jax"}[keras_backend]
    with pytest.raises(FashionError, match=f"{other} was asked for, but Keras already runs on {keras_backend}"):
        backend.select(other)


@pytest.mark.backend
def test_a_gpu_is_named_beside_its_number(keras_backend, monkeypatch):
    assert backend.devices() == "cpu:0"
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["gpu:0", "gpu:1"])
    if keras_backend == "jax":
        monkeypatch.setattr("jax.devices", lambda: [SimpleNamespace(device_kind=kind) for kind in ("H100", "A100")])
    else:
        found = [SimpleNamespace(device_type=kind, name=name) for kind, name in (("CPU", ""), *GPUS)]
        monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda: found)
        monkeypatch.setattr(
            "tensorflow.config.experimental.get_device_details", lambda device: {"device_name": device.name}
        )
    assert backend.devices() == "gpu:0 (H100), gpu:1 (A100)"
