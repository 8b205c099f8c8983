"""Fixtures that more than one test module uses.

Keras can run on one backend in a process. ``KERAS_BACKEND`` names it; ``make test`` runs everything on JAX, then the
tests marked ``backend`` on TensorFlow.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from jaxtyping import install_import_hook
from omegaconf import DictConfig

# Before these packages are imported: in tests every call of theirs is checked against its annotations, array types and
# shapes among them. Not `fashion.models` and `fashion.augment`: Keras inspects the signatures of layers itself.
TYPE_CHECKED = ("arrays", "audit", "data", "evaluation", "inference", "metrics", "preprocessing", "uncertainty")
install_import_hook(
    [f"fashion.{name}" for name in TYPE_CHECKED],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",  # an int is a float
)

from fashion.backend.selection import start_backend
from fashion.config.resolvers import register_resolvers
from fashion.data.fashion_mnist.idx_files import load_idx_files
from fashion.errors import FashionError
from fashion.paths import PROJECT

start_backend(os.environ.get("KERAS_BACKEND", "jax"), deterministic=True)
register_resolvers()

pytest_plugins = ["isolation", "services", "clusters", "serving", "containers"]

OTHER_KERAS_SETTINGS = '{"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.01}'

Command = Callable[..., subprocess.CompletedProcess[str]]
Compose = Callable[..., DictConfig]


@pytest.fixture(scope="session")
def fashion_mnist_root(pytestconfig, unguarded) -> Path:
    """The checkout's ``data`` folder with the verified files of Fashion-MNIST; a skip where they are not available.

    On CI the tests on real data are the point, so there a missing data set is a failure. Fast tests never download it.
    """
    root = PROJECT / "data"
    try:
        with unguarded():
            load_idx_files(root, download=not pytestconfig.getoption("--fast"))
    except FashionError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return root


@pytest.fixture(scope="session")
def keras_backend() -> str:
    """The backend that Keras runs on in this process."""
    import keras

    return keras.backend.backend()


@pytest.fixture(scope="session")
def run_command(starts_processes) -> Command:
    """Run a script of the project as a user would, in a process of its own."""

    def run(script: str, *arguments: object, timeout: float = 300, **environment: str):
        return subprocess.run(
            [sys.executable, str(PROJECT / "scripts" / script), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
            cwd=PROJECT,
        )

    return run


@pytest.fixture
def compose_train() -> Compose:
    """Compose ``configs/train.yaml`` with overrides, writing to a folder of the test."""

    def composed(folder: Path, *overrides: str) -> DictConfig:
        with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
            return compose("train", [f"run_folder={folder}", *overrides])

    return composed


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, worker_id) -> Path:
    """A folder of this test session that all workers of pytest-xdist see."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def smoke_run(run_command, fashion_mnist_root, keras_backend, shared_folder):
    """The folder and the output of ``experiment=smoke`` as a user runs it; the first worker to need it runs it.

    The user's ``keras.json`` is another project's, which must not change anything.
    """
    folder, output = shared_folder / "smoke" / "run", shared_folder / "smoke" / "output.json"
    with FileLock(shared_folder / "smoke.lock"):
        if not output.exists():
            backend_and_folder = f"trainer.backend={keras_backend}", f"hydra.run.dir={folder}"
            output.parent.mkdir()
            (output.parent / "keras.json").write_text(OTHER_KERAS_SETTINGS)
            run = run_command("train.py", "experiment=smoke", *backend_and_folder, KERAS_HOME=str(output.parent))
            assert run.returncode == 0, run.stderr
            output.write_text(json.dumps(vars(run)))
    return folder, subprocess.CompletedProcess(**json.loads(output.read_text()))
