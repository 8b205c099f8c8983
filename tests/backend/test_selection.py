"""What starting a backend does to the process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from fashion.backend.jax_environment import NUMERICS
from fashion.backend.selection import start_backend
from fashion.errors import FashionError
from fashion.paths import PROJECT

PROGRAM = """
import json, os, sys
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
import keras
config = keras.config
settings = [config.image_data_format(), config.floatx(), config.epsilon(), config.dtype_policy().name]
memory = open("/proc/self/smaps").read() if sys.platform == "linux" else ""
advised = [line for line in memory.splitlines() if line.startswith("VmFlags") and " hg" in line]
import jax
jax_values = jax.config.values
numerics = [jax.random.bits(jax.random.key(0)).item(), str(jax.numpy.arange(3.0).dtype)]
numerics.append({name: jax_values[name] for name in json.loads(sys.argv[1])})
print(json.dumps([loaded, refusal, settings, os.environ["KERAS_HOME"], numerics, len(advised)]))
"""
# The variables of JAX that would change a run's numbers.
JAX_VARIABLES = {
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "3",
    "JAX_HIGH_DYNAMIC_RANGE_GUMBEL": "1",
    "JAX_SOFTMAX_CUSTOM_JVP": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
}


@pytest.fixture(scope="module")
def keras_home(tmp_path_factory) -> Path:
    """A folder with settings of Keras that this project does not use; with two of them Keras cannot be imported."""
    folder = tmp_path_factory.mktemp("keras")
    settings = {"image_data_format": "channels_first", "floatx": "bfloat16", "epsilon": 1, "backend": "torch"}
    (folder / "keras.json").write_text(json.dumps({**settings, "nnx_enabled": True}))
    return folder


@pytest.fixture(scope="module")
def process_on_jax(starts_processes, keras_home):
    """What a fresh process on JAX reports: imported packages, refusals, Keras's settings, mappings in huge pages."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "KERAS_HOME": str(keras_home), **JAX_VARIABLES}
    command = [sys.executable, "-c", PROGRAM, json.dumps(list(NUMERICS))]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_jax_comes_alone_and_only_tensorflow_stays_excluded(process_on_jax):
    imported, refusal, *_ = process_on_jax
    assert imported == []
    assert refusal.startswith("TensorFlow is excluded from this process by start_backend('jax')")


def test_the_settings_of_keras_are_the_projects_own(process_on_jax, keras_home):
    _, _, settings, home, *_ = process_on_jax
    assert settings == ["channels_last", "float32", 1e-7, "float32"]
    assert home == str(keras_home)  # for everything but Keras


def test_the_numerical_settings_of_jax_are_the_projects_own(process_on_jax):
    *_, (drawn, dtype, settings), _ = process_on_jax
    assert {name.upper() for name in settings} == set(JAX_VARIABLES)
    assert settings == NUMERICS
    assert drawn == 4070199207  # of seed 0, by JAX's defaults
    assert dtype == "float32"


@pytest.mark.backend
def test_settings_that_keras_has_already_are_replaced(keras_backend):
    try:
        keras.config.set_image_data_format("channels_first")
        keras.config.set_floatx("float16")
        keras.config.set_epsilon(0.1)
    finally:
        start_backend(keras_backend, deterministic=True)
    assert (keras.config.image_data_format(), keras.config.floatx()) == ("channels_last", "float32")
    assert keras.config.epsilon() == 1e-7
    assert keras.layers.Conv2D(1, 1).data_format == "channels_last"


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are advised with glibc alone")
def test_freed_memory_is_kept_in_huge_pages(process_on_jax):
    *_, advised = process_on_jax
    assert advised >= 1


def test_a_second_backend_is_refused_in_the_same_process(keras_backend):
    other = {"jax": "tensorflow", "tensorflow": "jax"}[keras_backend]
    with pytest.raises(FashionError, match=f"{other} was requested, but Keras already runs on {keras_backend}"):
        start_backend(other)
