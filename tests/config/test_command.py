"""A command: wrong input is one line and status 2, and a configuration is checked once."""

import errno
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from omegaconf import OmegaConf

from fashion.config import resolvers
from fashion.config.command import CheckBeforeRun
from fashion.config.resolvers import unique_folder
from fashion.files import LOCK_FILE
from fashion.paths import PROJECT

WRONG = [
    (["trainer.epochs=-1"], "error: trainer.epochs: got -1, expected greater than or equal to 0"),
    (
        ["model=nosuch"],
        "error: model: got nosuch, expected one of cnn, efficientnet_lite0, efficientnet_lite2, "
        "efficientnetb0, keras_application, resnet",
    ),
    (["trainer.epochz=3"], "error: trainer.epochz: there is no such key; trainer has "),
    (["optimizer.learning_rate=fast"], "error: optimizer.learning_rate: got 'fast', expected a valid number"),
    (["data.root=/nowhere", "data.download=false"], "error: data.root: there is no folder /nowhere"),
    (["optimizer=null"], "error: optimizer: got null, expected one of the choices in configs/optimizer/"),
    (["trainer.epochs"], "error: trainer.epochs: cannot be read as key=value"),
    (["data={a"], "error: data={a: cannot be read as key=value"),
    (["data.root=/a(b"], "error: data.root=/a(b: cannot be read as key=value"),
    (["data.root=~/data"], "error: data.root=~/data: cannot be read as key=value (the shell does not expand ~ here"),
    (["hydra.run.dir=x/${hydra.job.num}"], "error: hydra.run.dir: MissingMandatoryValue while resolving"),
    (["--epochs=3"], "error: unrecognized arguments: --epochs=3; see --help"),
    (
        ["experiment=tiny", "model=cnn"],
        "error: model.stem_filters: there is no such key; model has dense_units, dropout, widths; it is set by "
        "experiment=tiny, which cannot be combined with model=cnn; leave out one of the two",
    ),
    (["trainer.resume=/nowhere"], "error: trainer.resume: got /nowhere, expected the folder of an unfinished run"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG, ids=[wrong[0][0] for wrong in WRONG])
def test_wrong_input_is_one_line_and_status_2(run_command, tmp_path, overrides, message):
    run = run_command("train.py", f"hydra.run.dir={tmp_path / 'run'}", *overrides)
    assert run.returncode == 2
    assert run.stderr.startswith(message)
    assert run.stderr.count("\n") == 1


def test_a_wrong_configuration_leaves_no_run_folder(run_command, tmp_path):
    assert run_command("train.py", "trainer.epochs=0", f"hydra.run.dir={tmp_path / 'run'}").returncode == 2
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_made_is_one_line(run_command, tmp_path):
    (tmp_path / "file").write_text("in the way")
    run = run_command("train.py", "model=cnn", f"hydra.run.dir={tmp_path}/file/run")
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert f"{tmp_path}/file/run" in run.stderr
    assert run.stderr.count("\n") == 1


def test_names_in_any_script_are_read_in_the_c_locale(run_command, tmp_path):
    folder = tmp_path / "prüf-数据"
    show = (f"data.root={folder}", "--cfg", "job", "model=cnn", "--package", "data")
    run = run_command("train.py", *show, LC_ALL="C")
    assert (run.returncode, run.stdout.splitlines()[2]) == (0, f"root: {folder}")
    undecoded = run_command("train.py", *show, LC_ALL="C", PYTHONUTF8="0")
    assert undecoded.returncode == 2
    assert undecoded.stderr.endswith("has characters that the locale's encoding, ascii, lacks; set PYTHONUTF8=1\n")
    assert undecoded.stderr.count("\n") == 1


def test_debugging_shows_where_an_error_comes_from(run_command):
    run = run_command("train.py", "model=nosuch", FASHION_DEBUG="1")
    assert run.returncode == 2
    assert "Traceback" in run.stderr
    assert run.stderr.splitlines()[-1].startswith("error: model: got nosuch")


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "explore.py", "audit.py", "predict.py"])
def test_help_explains_the_command(run_command, script):
    run = run_command(script, "--help")
    assert run.returncode == 0
    assert run.stderr == ""
    assert script in run.stdout


def test_help_lists_every_choice(run_command):
    text = run_command("train.py", "--help").stdout
    groups = ("augment", "callbacks", "data", "debug", "experiment", "model", "optimizer", "schedule", "trainer")
    for group in (*groups, "hparams_search"):
        choices = sorted(file.stem for file in (PROJECT / "configs" / group).glob("*.yaml"))
        assert f"{group}: {', '.join(choices)}" in text


def test_runs_of_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(resolvers, "OUTPUTS", tmp_path)
    folders: list[str] = []
    threads = [threading.Thread(target=lambda: folders.append(unique_folder.__wrapped__("train"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(folders)) == 10
    assert {path.parent for path in map(type(tmp_path), folders)} == {tmp_path / "train"}


def test_composing_twice_asks_for_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(resolvers, "OUTPUTS", tmp_path)
    unique_folder.cache_clear()
    cfg = OmegaConf.create({"folder": "${unique_folder:train}"})
    assert cfg.folder == cfg.folder
    assert len(list((tmp_path / "train").iterdir())) == 1
    unique_folder.cache_clear()


@pytest.mark.process
def test_interrupting_a_command_gives_status_130():
    program = "from fashion.cli import with_exit_status\ndef f(): raise KeyboardInterrupt\nwith_exit_status(f)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 130
    assert run.stderr == "interrupted\n"


COMMAND = """
from fashion.config.command import hydra_command
checked = []
def prepare(cfg, make_folder):
    make_folder()
    checked.append(cfg.seed)
    return cfg.seed
@hydra_command("explore", prepare)
def main(seed):
    print(seed, checked)
main()
"""


@pytest.mark.process
def test_a_configuration_is_checked_once(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-c", COMMAND, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True).stdout.splitlines()

    assert run("seed=3", f"hydra.run.dir={tmp_path / 'run'}") == ["3 [3]"]
    lines = run("-m", "seed=3,4", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert [line for line in lines if line.startswith(("3", "4"))] == ["3 [3]", "4 [3, 4]"]


@pytest.mark.process
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_run_continues_when_its_output_cannot_be_written(tmp_path):
    command = [sys.executable, "-c", COMMAND, "seed=3", f"hydra.run.dir={tmp_path / 'run'}"]
    with open("/dev/full", "wb") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=PROJECT)
    assert run.returncode == 0
    assert run.stderr == (
        "warning: standard output cannot be written (No space left on device); the run continues without it\n"
    )


@pytest.mark.process
def test_a_log_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "explore.log").mkdir()
    command = [sys.executable, "-c", COMMAND, f"hydra.run.dir={tmp_path}"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {tmp_path / 'explore.log'}: Is a directory; choose another with ")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("reason", [errno.EROFS, errno.ENAMETOOLONG], ids=["read-only", "name too long"])
def test_a_folder_that_cannot_be_used_is_refused_before_the_run(tmp_path, monkeypatch, capsys, reason):
    folder = tmp_path / ("x" * 300 if reason == errno.ENAMETOOLONG else "finished")
    if reason == errno.EROFS:
        folder.mkdir()
        (folder / LOCK_FILE).touch()
        monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(reason, os.strerror(reason), str(folder))))
    monkeypatch.setattr(CheckBeforeRun, "command", Mock(), raising=False)
    with pytest.raises(SystemExit) as ended:
        CheckBeforeRun().on_run_start(OmegaConf.create({"hydra": {"run": {"dir": str(folder)}}}))
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: {folder}")
    assert f": {os.strerror(reason)}; choose another with hydra.run.dir=" in line
    assert line.count("\n") == 1


def test_a_log_file_names_a_folder_whose_name_is_not_utf_8(tmp_path):
    settings = OmegaConf.load(PROJECT / "configs" / "hydra" / "job_logging" / "plain.yaml").handlers.file
    handler = logging.FileHandler(tmp_path / "run.log", encoding=settings.encoding, errors=settings.errors)
    handler.emit(logging.LogRecord("run", logging.INFO, "", 0, "model ü \udcff", None, None))
    handler.close()
    assert (tmp_path / "run.log").read_text("utf-8") == "model ü \\udcff\n"
