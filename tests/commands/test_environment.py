"""What the user's machine imposes: variables of JAX and XLA, and folders that cannot be written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from serving import png

from fashion.paths import PROJECT

NO_CUDA = "names a platform that this machine or this installation of JAX lacks; available: cpu; unset it, or choose "


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "image.png"
    path.write_bytes(png(np.zeros((28, 28), np.uint8)))
    return path


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("JAX_PLATFORMS", "cuda", f"JAX_PLATFORMS=cuda {NO_CUDA}one of these"),
        ("JAX_PLATFORMS", "nonsense", f"JAX_PLATFORMS=nonsense {NO_CUDA}one of these"),
        ("JAX_PLATFORM_NAME", "gpu", f"JAX_PLATFORM_NAME=gpu {NO_CUDA}one of these"),
        (
            "JAX_NUM_CPU_DEVICES",
            "abc",
            'JAX_NUM_CPU_DEVICES=abc: JAX refuses it (Invalid value "abc" for JAX flag jax_num_cpu_devices); correct '
            "it, or unset it",
        ),
        (
            "XLA_FLAGS",
            "--xla_nonsense=1",
            "XLA_FLAGS: got --xla_nonsense=1, which XLA refuses (Unknown flag in XLA_FLAGS: --xla_nonsense=1); "
            "correct it, or unset it",
        ),
        (
            "XLA_FLAGS",
            "--xla_cpu_enable_fast_math=maybe",
            "XLA_FLAGS: got --xla_cpu_enable_fast_math=maybe, which XLA refuses "
            "(Couldn't interpret value maybe for flag xla_cpu_enable_fast_math.); correct it, or unset it",
        ),
    ],
)
def test_a_variable_that_jax_refuses_is_named(run_command, image, name, value, error):
    finished = run_command("predict.py", image, "--backend", "jax", **{name: value})
    assert finished.returncode == 2
    assert finished.stderr == f"error: {error}\n"
    assert finished.stdout == ""


def test_flags_that_xla_accepts_reach_it(run_command, image):
    flags = "--xla_force_host_platform_device_count=2"
    assert run_command("predict.py", image, "--backend", "jax", XLA_FLAGS=flags).returncode == 0


@pytest.mark.parametrize(
    "refused", [{"JAX_PLATFORMS": "cuda"}, {"XLA_FLAGS": "--xla_nonsense"}], ids=["JAX_PLATFORMS", "XLA_FLAGS"]
)
def test_nothing_is_written_before_the_variables_are_checked(run_command, tmp_path, refused):
    folder = tmp_path / "run"
    finished = run_command("train.py", "trainer.backend=jax", f"hydra.run.dir={folder}", **refused)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: {next(iter(refused))}")
    assert len(finished.stderr.splitlines()) == 1
    assert not folder.exists()


def test_the_server_ends_with_the_same_error(run_command, small_artifact, tmp_path):
    database = f"server.database_url=sqlite:///{tmp_path}/fashion.db"
    settings = f"artifact={small_artifact}", "backend=jax", "server.port=0", database
    finished = run_command("serve.py", *settings, XLA_FLAGS="--xla_nonsense")
    assert finished.returncode == 2
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: XLA_FLAGS: got --xla_nonsense")


@pytest.fixture(scope="module")
def run_read_only(starts_processes, tmp_path_factory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of a copy of the project that cannot be written, and neither can the user's home."""
    root = tmp_path_factory.mktemp("read_only")
    for name in ("fashion", "scripts", "configs", "pretrained", "hydra_plugins"):
        shutil.copytree(PROJECT / name, root / name)
    (root / "data").symlink_to(PROJECT / "data")
    folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    for folder in folders:
        folder.chmod(0o555)
    unprivileged: list[str] = []
    if os.geteuid() == 0:  # permissions do not count for root
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed")
        unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]

    def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
        return subprocess.run(
            [*unprivileged, sys.executable, str(root / "scripts" / script), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**environment, "HOME": str(root), "PYTHONPATH": str(root)},
            cwd=root,
        )

    yield run
    for folder in folders:
        folder.chmod(0o755)


def test_a_model_is_used_without_any_folder_to_write_to(run_read_only, image):
    finished = run_read_only("predict.py", image)
    assert finished.returncode == 0, finished.stderr
    notice, model = finished.stderr.splitlines()
    assert notice.endswith(
        "/.cache/fashion/xla is not writable, so every start recompiles; set XDG_CACHE_HOME to a writable folder"
    )
    assert model.startswith("model: pretrained/")


FOLDER = "/outputs: Permission denied; choose another with hydra.run.dir=FOLDER, or hydra.sweep.dir=FOLDER for a sweep"


NO_DATABASE = (
    "/outputs/server/fashion.db: the database cannot be created (Permission denied); choose another path in "
    "server.database_url (of scripts/users.py: --database-url)"
)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["train.py"], FOLDER),
        (["train.py", "-m", "optimizer=adam,sgd"], FOLDER),
        (["serve.py", "server.port=0"], NO_DATABASE),
    ],
    ids=["train", "sweep", "serve"],
)
def test_a_folder_that_cannot_be_written_is_named_with_its_key(run_read_only, command, error):
    finished = run_read_only(*command)
    assert finished.returncode == 2
    (line,) = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert line.endswith(error)
    assert "Traceback" not in finished.stderr


def test_a_command_works_if_its_outputs_go_elsewhere(run_read_only, fashion_mnist_root, tmp_path):
    finished = run_read_only("explore.py", "data.limit=200", f"hydra.run.dir={tmp_path}/explore")
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "explore" / "classes.png").exists()
    assert "atplotlib" not in finished.stdout + finished.stderr
