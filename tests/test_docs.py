"""README.md and docs/: every command is run (some shortened), every key has its line, every link leads somewhere."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from image_folders import write_classes
from PIL import Image
from services import free_port, missing

from fashion.paths import PRETRAINED, PROJECT
from fashion.server.settings import Settings
from fashion.server.storage.accounts import Accounts

PAGES = {
    str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8")
    for path in [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
}
README = PAGES["README.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Table(NamedTuple):
    """A Markdown table: the name of its first column, and its rows without the first cell's backticks."""

    page: str
    head: str
    rows: dict[str, list[str]]


def blocks(kind: str) -> list[str]:
    return [block for text in PAGES.values() for found, block in BLOCK.findall(text) if found == kind]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables() -> list[Table]:
    found = []
    for page, text in PAGES.items():
        for lines in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            head, _, *rows = map(cells, lines.splitlines())
            found.append(Table(page, head[0], {row[0].strip("`"): row[1:] for row in rows}))
    return found


# One command that stands on several pages is run once.
COMMANDS = list(
    dict.fromkeys(line.partition(" #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line)
)
SCRIPTS = [
    command
    for command in COMMANDS
    if command.startswith("python ") and not re.search(r"(trainer|sweep)\.resume=|scripts/(serve|users)\.py", command)
]
OWN_IMAGES = [command for command in SCRIPTS if re.search(r"data=(folder|manifest)|data\.root=photos", command)]
SWEEPS = [command for command in SCRIPTS if " -m " in command]
SERVERS = [command for command in COMMANDS if "scripts/serve.py" in command]
TOGETHER = [command for command in COMMANDS if "JAX_PROCESS_ID=" in command]
SLURM = [command for command in COMMANDS if command.startswith("srun ")]
USERS = [command for command in COMMANDS if "scripts/users.py" in command]
REQUESTS = [command for command in COMMANDS if command.startswith("curl ")]
TEXT = "\n".join(PAGES.values())
EXTRAS = sorted(set(re.findall(r"--extra (\w+)", TEXT)))
INLINE_CODE = sorted({code for text in PAGES.values() for code in re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))})
MAKE = sorted({line for line in [*COMMANDS, *INLINE_CODE] if re.match(r"make [a-z]+( ARGS=|$)", line)})
INLINE = [code.removeprefix("python ") for code in INLINE_CODE if code.startswith("python scripts/")]

SHORTENED = ["data.limit=1000", "trainer.epochs=1", "trainer.batch_size=100"]
SHORTENED_SWEEP = {
    "optimizer=adam,sgd": "optimizer=sgd",
    "trainer.backend=jax,tensorflow": "trainer.backend=jax",
    "trainer.seed=0,1,2": "trainer.seed=0",
    "data.fold=0,1,2,3,4": "data.fold=4",
    "sweep.trials=20": "sweep.trials=1",
}


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, cwd=folder, timeout=500)


def run_script(arguments: list[str], folder: Path) -> str:
    finished = run([sys.executable, str(PROJECT / arguments[0]), *arguments[1:]], folder)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_pages_have_commands():
    assert len(SCRIPTS) >= 16
    assert len(SWEEPS) >= 3
    assert COMMANDS[:2] == ["make train", "make serve"]
    together = r"srun [-\w= ]+|(JAX_\w+=\S+ ){3}"
    kinds = rf"({together})?python scripts/|make [a-z]+$|curl |\.venv/bin/python scripts/setup_venv\.py "
    kinds += r"|sbatch deploy/slurm/train\.sbatch "  # which tests/deploy/test_slurm.py runs
    assert [command for command in COMMANDS if not re.match(kinds, command)] == []


def test_the_readme_is_read_in_ten_minutes():
    assert len(README.splitlines()) <= 150


def write_own_images(folder: Path) -> None:
    """Write ``photos``, a folder with two classes, and ``labels.csv``, which lists its images."""
    write_classes(folder / "photos", {"cat": 60, "dog": 60})
    files = sorted((folder / "photos").glob("*/*"))
    lines = [f"{path.relative_to(folder)},{path.parent.name}" for path in files]
    (folder / "labels.csv").write_text("\n".join(["path,label", *lines]))


@pytest.mark.parametrize("command", OWN_IMAGES)
def test_own_images_are_trained_on_as_the_docs_say(command, starts_processes, tmp_path):
    write_own_images(tmp_path)
    _, script, *arguments = shlex.split(command)
    own_model = [argument for argument in arguments if argument.startswith(("model=", "experiment="))]
    small = [] if "experiment=transfer" in arguments else ["trainer.epochs=1"]
    if own_model in ([], ["model=resnet"]):
        small.append("model.widths=[8]")
    if "experiment=finetune" in arguments:
        small.append("data.image_size=64")
    small += ["trainer.batch_size=32", f"data.cache={tmp_path}/cache"]
    model = [] if own_model else ["model=cnn"]
    shown = [argument for argument in arguments if not argument.startswith("trainer.epochs=")]
    printed = run_script([script, *shown, *model, *small, f"hydra.run.dir={tmp_path}/run"], tmp_path)
    assert re.search("^(training|linear probe) ", printed, re.MULTILINE)
    assert list((tmp_path / "run").glob("*_model.keras"))


@pytest.mark.parametrize("command", [command for command in SCRIPTS if command not in OWN_IMAGES])
def test_a_script_of_the_docs_runs(command, smoke_run, tmp_path):
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
    elif script == "scripts/export.py":
        if "format=web" in arguments and not shutil.which("npm"):
            missing("npm")
        shutil.copytree(artifact, tmp_path / "run")  # which tests share
        arguments += [f"artifact={tmp_path}/run", "data.limit=1000"]
    elif script == "scripts/predict.py":
        arguments += ["--artifact", str(artifact)]
    elif script == "scripts/benchmark.py":
        shutil.rmtree(tmp_path / "photos" / "white")
        shown = {"RUN": str(artifact), "FOLDER": str(tmp_path / "photos")}
        arguments = [shown.get(argument, argument) for argument in arguments] + [f"--folder={tmp_path}/benchmarks"]
        arguments += ["--images=50"] if "renderings" in arguments else []
    else:
        arguments += [f"{place}={tmp_path}/run"]
        if script in ("scripts/evaluate.py", "scripts/audit.py"):
            # Robustness is measured on 75 times as many images.
            limit = 200 if "robustness=true" in arguments else 1000
            arguments += [f"artifact={artifact}", f"data.limit={limit}"]
        if script == "scripts/evaluate.py" and not any("photos=" in argument for argument in arguments):
            arguments.append("outliers=false")  # ten seconds of segmentation that another command of the docs does
    run_script([script, *arguments], tmp_path)
    if command == SWEEPS[0]:
        the_sweep_is_resumed_and_reported(tmp_path / "run")


def the_sweep_is_resumed_and_reported(folder: Path) -> None:
    before = (folder / "sweep.csv").read_text()
    (resume,) = [command for command in COMMANDS if "sweep.resume=" in command]
    run_script(shlex.split(resume.replace("=latest", f"={folder}"))[1:], folder)
    assert (folder / "sweep.csv").read_text() == before
    (report,) = [command for command in INLINE if "sweep_report" in command]
    run_script(shlex.split(report.replace("FOLDER", str(folder))), folder)
    assert (folder / "sweep.html").stat().st_size > 1000


def test_the_resume_command_of_the_docs_resumes(smoke_run, tmp_path):
    folder, started = smoke_run
    (resume,) = [command for command in COMMANDS if "trainer.resume=" in command]
    shutil.copytree(folder / ".hydra", tmp_path / "run" / ".hydra")  # as a run that was killed in its first epoch
    resumed = run_script(shlex.split(re.sub("resume=.*", f"resume={tmp_path}/run", resume))[1:], tmp_path)
    assert resumed.splitlines()[-1] == started.stdout.splitlines()[-1]


def train_together(commands: list[str], folder: Path, **environment: str) -> None:
    """Run at once the commands that start the processes of one training, which then is complete."""
    quick = [*SHORTENED, "model=cnn", "model.widths=[8]", "model.dense_units=[16]", f"hydra.run.dir={folder}/run"]
    processes = [
        subprocess.Popen(
            ["env", *shlex.split(command.replace("python ", f"{sys.executable} {PROJECT}/")), *quick],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, **environment},
        )
        for command in commands
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(commands), outputs
    assert "".join(output for output, _ in outputs).count("test accuracy") == 1
    assert len(json.loads((folder / "run" / "run.json").read_text())["device"].split(", ")) == 2


def test_the_processes_of_the_docs_train_together(fashion_mnist_root, starts_processes, tmp_path):
    assert len(TOGETHER) == 2
    port = free_port()
    train_together([command.replace(":8476", f":{port}") for command in TOGETHER], tmp_path)


def test_the_srun_of_the_docs_trains(fashion_mnist_root, slurm, tmp_path):
    (command,) = SLURM
    train_together([command], tmp_path, **slurm, JAX_COORDINATOR_PORT=str(free_port()))


@pytest.mark.parametrize("command", SERVERS)
def test_a_server_of_the_docs_serves(command, small_artifact, start_server, redis_url):
    _, _, *arguments = shlex.split(command)
    shown = [argument for argument in arguments if not argument.startswith(("artifact=", "server.port="))]
    if "server.runtime=onnx" in shown:
        shown.append(f"artifact={PRETRAINED}")  # with its exported file
    server = start_server(*(re.sub("redis://HOST.*", redis_url, argument) for argument in shown)).wait_until_ready()
    assert server.request("/livez").status == 200
    assert server.stop() == 0


def test_the_account_commands_of_the_docs_do_what_they_say(run_command, tmp_path):
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


def test_the_requests_of_the_docs_are_answered_as_shown(server, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("there is no curl here")
    assert len(REQUESTS) >= 3
    for name in ("shoe.png", "my coat.jpg"):
        Image.new("RGB", (60, 90), "white").save(tmp_path / name)
    accounts = Accounts(f"sqlite:///{server.folder}/fashion.db")
    environment = {**os.environ, "TOKEN": accounts.create_token("admin", "docs")}
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
    assert len(blocks("json")) == 2
    for block in blocks("json"):
        shown = json.loads(block)
        assert list(answers[0]) == list(shown)
        assert list(answers[0]["probabilities"]) == list(shown["probabilities"])


@pytest.mark.process
@pytest.mark.parametrize("command", MAKE)
def test_a_make_command_of_the_docs_has_its_target(command, tmp_path):
    finished = run(["make", "-n", "-C", str(PROJECT), *shlex.split(command)[1:]], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "No rule" not in finished.stderr


@pytest.mark.process
def test_make_train_trains(fashion_mnist_root, tmp_path):
    if not (PROJECT / ".venv").exists():
        pytest.skip("this environment was not made by make, which would now make one")
    finished = run(["make", "-C", str(PROJECT), "train", f"ARGS=experiment=smoke hydra.run.dir={tmp_path}/r"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"test accuracy +\d\d\.\d\d %", finished.stdout)


def test_the_extras_of_the_docs_exist():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert EXTRAS
    assert set(EXTRAS) <= set(project["optional-dependencies"])
    named = re.search(r"--extra (\w+) +# also: (.*)", PAGES["docs/training.md"])
    assert {named[1], *named[2].split(", ")} == set(project["optional-dependencies"]) - {"dev"}


@pytest.mark.process
@pytest.mark.parametrize("command", INLINE)
def test_a_command_within_a_sentence_is_understood(command, tmp_path):
    script, *arguments = shlex.split(command)
    hydra = "hydra_command" in (PROJECT / script).read_text()
    run_script([script, *arguments, *(["--cfg", "job"] if hydra else ["--help"])], tmp_path)


def test_the_python_of_the_docs_runs(smoke_run, tmp_path):
    artifact, _ = smoke_run
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "latest").symlink_to(artifact)
    for block in blocks("python"):
        compile(block, "docs", "exec")
    programs = [block for block in blocks("python") if "import keras" in block]
    assert len(programs) == 1
    finished = subprocess.run(
        [sys.executable, "-c", programs[0]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert finished.returncode == 0, finished.stderr


def test_the_client_of_the_docs_runs(server):
    (program,) = [block for block in blocks("python") if "import tritonclient" in block]
    names: dict[str, Any] = {}
    exec(program.replace(":5000", f":{server.port}"), names)
    assert names["probabilities"].shape == (2, 10)


def test_the_errors_in_the_docs_are_those_that_users_see(run_command):
    shown = re.findall(r"^\$ python scripts/(\S+) (.*)\n(error: .*)$", TEXT, re.MULTILINE)
    assert len(shown) >= 2
    for script, arguments, error in shown:
        finished = run_command(script, *shlex.split(arguments))
        assert finished.returncode == 2
        assert finished.stderr.strip() == error


@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_every_choice_is_in_the_table(page):
    (choices,) = [table for table in tables() if (table.page, table.head) == (page, "group")]
    shown = {group: sorted(re.findall(r"`(\w+)`", row[0])) for group, row in choices.rows.items()}
    groups = [path.name for path in (PROJECT / "configs").iterdir() if path.is_dir()]
    assert shown == {
        group: sorted(file.stem for file in (PROJECT / "configs" / group).glob("*.yaml"))
        for group in groups
        if group not in ("hydra", "server")
    }


def documented_keys() -> dict[str, str]:
    """The cell with the default of each key that has a line, whatever the page."""
    keys: dict[str, str] = {}
    for table in tables():
        if table.head in ("key", "setting"):
            twice = keys.keys() & table.rows.keys()
            assert not twice, f"{', '.join(twice)}: documented twice"
            keys |= {key: row[0] for key, row in table.rows.items()}
    return keys


def values_by_key(group: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A yaml's values under their full names; what belongs to Hydra is left out."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= values_by_key(f"{group}.{name}", value)
        elif name not in ("_target_", "_recursive_", "defaults"):
            found[f"{group}.{name}"] = value
    return found


def config_keys() -> list[tuple[str, str, Any]]:
    """Each key of a config group, with the file and the value that it has there."""
    prefixes = {"hparams_search": "sweep"}
    return [
        (key, str(file.relative_to(PROJECT)), value)
        for file in sorted((PROJECT / "configs").glob("*/*.yaml"))
        if file.parent.name not in ("hydra", "experiment", "debug")  # those only choose and override
        for key, value in values_by_key(
            prefixes.get(file.parent.name, file.parent.name), yaml.safe_load(file.read_text()) or {}
        ).items()
    ]


def as_shown(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if value == "${default_model:}":
        return "outputs/latest"
    return re.sub(r"\$\{project_folder:(.*)\}", r"\1", value)


def test_every_key_of_a_config_group_has_a_line_with_its_default():
    lines = documented_keys()
    missing = sorted({key for key, _, _ in config_keys() if key not in lines})
    assert not missing, f"no table of README.md or docs/ has a line for {', '.join(missing)}"
    wrong = [
        f"{key}: {file} has {as_shown(value)}, its line {lines[key]}"
        for key, file, value in config_keys()
        if f"`{as_shown(value)}`" not in lines[key]
    ]
    assert not wrong, "\n".join(wrong)
    groups = {key.partition(".")[0] for key, _, _ in config_keys()}
    known = {key for key, _, _ in config_keys()}
    gone = sorted(key for key in lines if key.partition(".")[0] in groups and "." in key and key not in known)
    assert not gone, f"documented, but not in configs/: {', '.join(gone)}"


@pytest.mark.parametrize("command", ["train", "audit", "evaluate", "explore", "export", "serve"])
def test_every_key_of_a_command_has_a_line_with_its_default(command):
    settings = yaml.safe_load((PROJECT / "configs" / f"{command}.yaml").read_text())
    own = {name: value for name, value in settings.items() if name not in ("defaults", "hydra")}
    heads = {"train": "key", "serve": "setting"}
    head = heads.get(command, f"key of `scripts/{command}.py`")
    lines = {key: row[0] for table in tables() if table.head == head for key, row in table.rows.items()}
    missing = sorted(own.keys() - lines.keys())
    assert not missing, f"no table of README.md or docs/ has a line for {', '.join(missing)} of scripts/{command}.py"
    for key, value in own.items():
        assert f"`{as_shown(value)}`" in lines[key], key


def test_every_setting_of_the_server_has_a_line():
    lines = documented_keys()
    missing = [name for name in Settings.model_fields if f"server.{name}" not in lines]
    assert not missing, f"no line of docs/serving.md is for {', '.join(missing)}"


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", BLOCK.sub("", PAGES[page]))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (PROJECT / page).parent / path if path else PROJECT / page
        assert linked.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", linked.read_text()), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page} links to {target}"


def test_every_image_is_shown_and_every_page_is_reached():
    images = sorted(path.name for path in (PROJECT / "docs" / "images").iterdir())
    assert [image for image in images if f"images/{image})" not in TEXT] == []
    assert [page for page in PAGES if page != "README.md" and f"]({page})" not in README] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    named = re.findall(r"`((?:deploy|fashion|scripts|configs|tests|results|hydra_plugins)/[\w./]*)`", PAGES[page])
    placeholder = re.compile(r"/mine\.|[A-Z]{2}")
    gone = [path for path in named if not placeholder.search(path) and not (PROJECT / path).exists()]
    assert not gone, f"{page} names {', '.join(gone)}"


def test_no_program_reads_the_docs():
    programs = [path for folder in ("fashion", "hydra_plugins", "scripts") for path in (PROJECT / folder).rglob("*.py")]
    programs.remove(PROJECT / "scripts" / "check_vocabulary.py")  # it reads every text
    reading = [str(path) for path in programs if re.search(r"[\"']docs[\"'/]|docs/\w+\.(?!md)", path.read_text())]
    assert reading == []


RESULTS = {path.name: json.loads(path.read_text()) for path in sorted((PROJECT / "results").glob("*.json"))}


@pytest.mark.parametrize("name", RESULTS)
def test_each_result_names_its_commit_and_command_and_is_quoted(name):
    for entry in RESULTS[name].get("rows", [RESULTS[name]]):
        assert re.search(r"\b[0-9a-f]{7,40}\b|not recorded", entry["commit"])
        assert entry["command"].startswith(("python scripts/", "not recorded"))
        for value in entry.get("quoted", []):
            assert value in " ".join(PAGES[RESULTS[name]["page"]].split()), f"{value} of {entry['what']}"
