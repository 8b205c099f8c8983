"""Every command of the README is run here, shortened where it would take long."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from PIL import Image

from fashion.paths import PROJECT
from fashion.server.storage.accounts import Accounts

README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.partition(" #")[0].strip() for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line
]
SCRIPTS = [
    command
    for command in COMMANDS
    if command.startswith("python ") and not re.search(r"(trainer|sweep)\.resume=|scripts/(serve|users)\.py", command)
]
SERVERS = [command for command in COMMANDS if "scripts/serve.py" in command]
USERS = [command for command in COMMANDS if "scripts/users.py" in command]
REQUESTS = [command for command in COMMANDS if command.startswith("curl ")]
MAKE = sorted(set(re.findall(r"make [a-z]+(?: ARGS=\"[^\"]*\")?", README)))

SHORTENED = ["data.limit=1000", "trainer.epochs=1", "trainer.batch_size=100"]
SHORTENED_SWEEP = {
    "optimizer=adam,sgd": "optimizer=sgd",
    "trainer.backend=jax,tensorflow": "trainer.backend=jax",
    "trainer.seed=0,1,2": "trainer.seed=0",
    "sweep.trials=20": "sweep.trials=1",
}


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
    (tmp_path / "photos" / "white").mkdir(parents=True)
    shutil.copy(tmp_path / "shoe.png", tmp_path / "photos" / "white")
    (tmp_path / "photos" / "dress").mkdir()
    Image.effect_noise((60, 90), 90).save(tmp_path / "photos" / "dress" / "noise.jpg")
    named = {"photos=FOLDER": f"photos={tmp_path}/photos", "compare=OTHER_RUN": f"compare={artifact}"}
    named |= SHORTENED_SWEEP
    arguments = [named.get(argument, argument) for argument in arguments if argument != "artifact=OLD_RUN"]
    place = "hydra.sweep.dir" if "-m" in arguments else "hydra.run.dir"
    if "records" in arguments:
        arguments = ["records", *arguments[1:2], *SHORTENED, "--seeds", "1", "--folder", "run", "--runs", "runs"]
    elif script == "scripts/train.py":
        arguments += [*SHORTENED, f"{place}={tmp_path}/run"]
    elif script == "scripts/predict.py":
        arguments += ["--artifact", str(artifact)]
    elif script == "scripts/benchmark.py":
        shutil.rmtree(tmp_path / "photos" / "white")
        shown = {"RUN": str(artifact), "FOLDER": str(tmp_path / "photos")}
        arguments = [shown.get(argument, argument) for argument in arguments] + [f"--folder={tmp_path}/benchmarks"]
        arguments += ["--images=50"] if "renderings" in arguments else []
    else:
        arguments += [f"{place}={tmp_path}/run"]
        if "evaluate" in script or "audit" in script:
            arguments += [f"artifact={artifact}"]
        if "audit" in script or "robustness=true" in arguments:
            arguments += ["data.limit=1000"]
    finished = run([sys.executable, str(PROJECT / script), *arguments], tmp_path)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("command", SERVERS)
def test_a_server_of_the_readme_serves(command, small_artifact, start_server, redis_url):
    _, _, *arguments = shlex.split(command)
    shown = [argument for argument in arguments if not argument.startswith(("artifact=", "server.port="))]
    server = start_server(*(re.sub("redis://HOST.*", redis_url, argument) for argument in shown)).wait_until_ready()
    assert server.request("/livez").status == 200
    assert server.stop() == 0


def test_the_account_commands_of_the_readme_do_what_they_say(run_command, tmp_path):
    assert len(USERS) >= 6
    for command in USERS:
        _, script, *arguments = shlex.split(command)
        finished = subprocess.run(
            [sys.executable, str(PROJECT / script), *arguments, f"--database-url=sqlite:///{tmp_path}/fashion.db"],
            input="correct horse battery\n",
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr


def test_the_requests_of_the_readme_are_answered_as_shown(server, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("there is no curl here")
    assert len(REQUESTS) >= 3
    for name in ("shoe.png", "my coat.jpg"):
        Image.new("RGB", (60, 90), "white").save(tmp_path / name)
    accounts = Accounts(f"sqlite:///{server.folder}/fashion.db")
    environment = {**os.environ, "TOKEN": accounts.create_token("admin", "readme")}
    accounts.database.close()
    answers = []
    for command in REQUESTS:
        here = command.replace("127.0.0.1:5000", f"127.0.0.1:{server.port}")
        finished = subprocess.run(
            ["sh", "-c", f"{here} --silent --show-error --fail"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert finished.returncode == 0, finished.stderr
        answers.append(json.loads(finished.stdout))
    shown = [json.loads(block) for kind, block in BLOCKS if kind == "json"]
    assert list(answers[0]) == list(shown[0])
    assert list(answers[0]["probabilities"]) == list(shown[0]["probabilities"])


def test_every_setting_of_the_server_is_in_the_table():
    settings = yaml.safe_load((PROJECT / "configs" / "server" / "default.yaml").read_text())
    rows = dict(re.findall(r"^\| `server\.(\w+)` \| `([^`]*)` \|", README, flags=re.MULTILINE))
    shown = {
        key: re.sub(r"\$\{project_folder:(.*)\}", r"\1", value) if isinstance(value, str) else json.dumps(value)
        for key, value in settings.items()
    }
    assert rows == shown


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
    groups = ("data", "augment", "model", "optimizer", "schedule", "callbacks", "trainer", "experiment", "debug")
    for group in (*groups, "hparams_search"):
        choices = sorted(file.stem for file in (PROJECT / "configs" / group).glob("*.yaml"))
        row = re.search(rf"^\| `{group}` \| (.*?) \|", README, flags=re.MULTILINE)
        assert sorted(re.findall(r"`(\w+)`", row[1])) == choices
