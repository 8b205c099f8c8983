"""Saved models in real older releases of Keras, each installed into a folder of its own below the user's cache."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from filelock import FileLock
from networks import GREY_28, images_of

from fashion import artifact
from fashion.backend.jax_environment import COMPILATION_CACHE_BYTES
from fashion.backend.selection import seed_everything
from fashion.models import efficientnet
from fashion.models.cnn import cnn
from fashion.models.efficientnet import Stage
from fashion.models.efficientnet_lite import efficientnet_lite
from fashion.models.efficientnetb0 import efficientnetb0
from fashion.models.resnet import resnet
from fashion.models.view_average import view_averaged
from fashion.models.wide_resnet import wide_resnet
from fashion.paths import PRETRAINED, PROJECT, cache_folder

# The oldest release that the README names, and the newest of two later series; the project itself runs on the newest.
RELEASES = ("3.10.0", "3.13.2", "3.14.1")
SMALL_STAGES = (Stage(1, 3, 4, 1), Stage(6, 3, 6, 1), Stage(6, 5, 6, 2))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with a small network of each family as this project saves it, and the pretrained one."""
    folder = tmp_path_factory.mktemp("saved")
    seed_everything(0)
    with pytest.MonkeyPatch.context() as patch:
        small = {"STAGES": SMALL_STAGES, "STAGE_STRIDES": (1, 2, 2), "STEM_FILTERS": 4, "HEAD_FILTERS": 8}
        for name, value in small.items():
            patch.setattr(efficientnet, name, value)
        models = {
            "efficientnetb0": efficientnetb0(32, 2, [1, 2, 2], "standardise", 0.9, 0.2, [8], 0.1, **GREY_28),
            "efficientnet_lite0": efficientnet_lite(0, None, 32, 0.9, 0.2, 0.1, **GREY_28),
            "efficientnet_lite2": efficientnet_lite(2, None, 32, 0.9, 0.2, 0.1, **GREY_28),
            "cnn": cnn([4], [8], 0.3, **images_of(40, 1)),
            "resnet": view_averaged(resnet(4, 2, [4, 8], 1, 0.9, 0.1, **GREY_28), flip=True, shift=True),
            "wide_resnet": wide_resnet(1, 1, 0.9, 0.3, 4, **images_of(40, 3)),  # colour, with a max-pooled stem
        }
    own = {file.stem for file in (PROJECT / "configs" / "model").glob("*.yaml")} - {"keras_application"}  # Keras's
    assert models.keys() == own
    random = np.random.default_rng(0)
    for name, model in models.items():
        for weights in model.weights:  # moving statistics too, as if it had been trained
            values = keras.ops.convert_to_numpy(weights)
            weights.assign(values * random.uniform(0.5, 1.5, values.shape) + random.uniform(0, 0.01, values.shape))
        artifact.save_model(model, folder / f"{name}.keras")
    (folder / "pretrained.keras").write_bytes((PRETRAINED / "fashion_mnist_model.keras").read_bytes())
    for file in folder.glob("*.keras"):
        shape = models[file.stem].input_shape[1:] if file.stem in models else (28, 28, 1)
        images = random.random((3, *shape), np.float32) * np.array([1, 0.5, 0.1], np.float32).reshape(3, 1, 1, 1)
        np.save(file.with_suffix(".npy"), images)
    return folder


# Of every layer, the default of every argument: what equals its default is not in the file.
DEFAULTS = """
import inspect, keras
def defaults():
    layers = [each for each in vars(keras.layers).values() if inspect.isclass(each) and issubclass(each, keras.Layer)]
    signatures = {each.__name__: inspect.signature(each.__init__).parameters for each in layers}
    return {f"{layer} {name}": repr(p.default) for layer, found in signatures.items() for name, p in found.items()}
"""
PROGRAM = f"""
import json, pathlib, sys
sys.modules["fashion"] = None  # an import of it fails
import numpy as np
{DEFAULTS}
folder = pathlib.Path(sys.argv[1])
images = {{file.stem: np.load(file) for file in folder.glob("*.npy")}}
models = {{file.stem: keras.saving.load_model(file, safe_mode=True) for file in folder.glob("*.keras")}}
answers = {{name: np.asarray(model(images[name], training=False)).tolist() for name, model in models.items()}}
print(json.dumps([keras.__version__, keras.backend.backend(), defaults(), answers]))
"""


def installed(release: str) -> Path:
    """Return a folder with this release of Keras alone; what it needs is installed here for the newest."""
    folder = cache_folder() / "tests" / f"keras-{release}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
                place = ("--target", f"{partial}/keras")
                command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *place, f"keras=={release}"]
                pip = subprocess.run(command, capture_output=True, text=True)
                if pip.returncode:
                    give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
                    give_up(f"Keras {release} cannot be installed: {pip.stderr.strip()}")
                Path(partial, "keras").rename(folder)
    return folder


@pytest.mark.process
@pytest.mark.parametrize("release", RELEASES)
def test_a_saved_model_gives_equal_probabilities_in_an_older_keras(saved, release):
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed(release)),
        "KERAS_BACKEND": "jax",
        "JAX_COMPILATION_CACHE_DIR": str(cache_folder() / "xla"),
        # Without it JAX writes entries that it cannot read with it.
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(COMPILATION_CACHE_BYTES),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    command = [sys.executable, "-c", PROGRAM, saved]
    run = subprocess.run(command, capture_output=True, text=True, cwd=saved, env=environment)
    assert run.returncode == 0, run.stderr
    version, backend, defaults, answers = json.loads(run.stdout.splitlines()[-1])
    assert (version, backend) == (release, "jax")
    here: dict[str, Any] = {}
    exec(DEFAULTS, here)
    current = here["defaults"]()
    shared = defaults.keys() & current.keys()
    assert len(shared) > 500
    assert {key: defaults[key] for key in shared} == {key: current[key] for key in shared}
    for file in saved.glob("*.keras"):
        images = np.load(file.with_suffix(".npy"))
        expected = keras.ops.convert_to_numpy(keras.saving.load_model(file)(images, training=False))
        assert np.ptp(expected, axis=0).max() > 1e-4
        assert np.abs(answers.pop(file.stem) - expected).max() <= 1e-6
    assert not answers
