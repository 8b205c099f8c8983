"""Every command of the README is run here, shortened where it would take long."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from fashion.paths import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.partition(" #")[0].strip() for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line
]
SCRIPTS = [command for command in COMMANDS if command.startswith("python ") and "trainer.resume=" not in command]
MAKE = sorted(set(re.findall(r"make [a-z]+(?: ARGS=\"[^\"]*\")?", README)))

SHORTENED = ["data.limit=1000", "trainer.epochs=1", "trainer.batch_size=100"]


def run(arguments: list[str], folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, cwd=folder, timeout=500)


def test_the_readme_has_commands():
    assert len(SCRIPTS) >= 6
    assert COMMANDS[:2] == ["make train", "make test"]


@pytest.mark.parametrize("command", SCRIPTS)
def test_a_script_of_the_readme_runs(command, smoke_run, tmp_path):
    for name in ("shoe.png", "my coat.jpg"):
        Image.new("RGB", (60, 90), "white").save(tmp_path / name)
    _, script, *arguments = shlex.split(command)
    artifact, _ = smoke_run
    place = "hydra.sweep.dir" if "-m" in arguments else "hydra.run.dir"
    if script == "scripts/train.py":
        arguments += [*SHORTENED, f"{place}={tmp_path}/run"]
    elif script == "scripts/predict.py":
        arguments += ["--artifact", str(artifact)]
    else:
        arguments += [f"{place}={tmp_path}/run"] + ([f"artifact={artifact}"] if "evaluate" in script else [])
    finished = run([sys.executable, str(PROJECT / script), *arguments], tmp_path)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("command", MAKE)
def test_a_make_command_of_the_readme_has_its_target(command, tmp_path):
    finished = run(["make", "-n", "-C", str(PROJECT), *shlex.split(command)[1:]], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "No rule" not in finished.stderr


def test_make_train_trains(fashion_mnist_root, tmp_path):
    if not (PROJECT / ".venv").exists():
        pytest.skip("this environment was not made by make, which would now make one")
    finished = run(["make", "-C", str(PROJECT), "train", f"ARGS=experiment=smoke hydra.run.dir={tmp_path}/r"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"test accuracy +\d\d\.\d\d %", finished.stdout)


def test_the_python_of_the_readme_runs(smoke_run, tmp_path):
    artifact, _ = smoke_run
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "latest").symlink_to(artifact)
    programs = [block for kind, block in BLOCKS if kind == "python" and "import keras" in block]
    assert len(programs) == 1
    finished = subprocess.run(
        [sys.executable, "-c", programs[0]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert finished.returncode == 0, finished.stderr


def test_the_error_in_the_readme_is_the_one_users_see(run_command):
    shown = re.search(r"^\$ python scripts/train\.py (\S+)\n(error: .*)$", README, flags=re.MULTILINE)
    finished = run_command("train.py", shown[1])
    assert finished.returncode == 2
    assert finished.stderr.strip() == shown[2]


def test_every_choice_is_in_the_table(compose_train):
    for group in ("data", "augment", "model", "optimizer", "callbacks", "trainer", "experiment", "debug"):
        choices = sorted(file.stem for file in (PROJECT / "configs" / group).glob("*.yaml"))
        row = re.search(rf"^\| `{group}` \| (.*?) \|", README, flags=re.MULTILINE)
        assert sorted(re.findall(r"`(\w+)`", row[1])) == choices
