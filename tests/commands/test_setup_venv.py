"""``make install``: what pip is asked for."""

import subprocess
import sys

import pytest

from fashion.paths import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
import setup_venv
from setup_venv import project_with


@pytest.mark.parametrize("extras", [[], ["dev"], ["dev", "postgresql"]])
@pytest.mark.process
def test_pip_takes_the_project_with_and_without_extras(extras):
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-build-isolation", "--editable"]
    finished = subprocess.run([*command, project_with(extras)], capture_output=True, text=True, cwd=PROJECT)
    assert finished.returncode == 0, finished.stderr
    assert "Would install fashion" in finished.stdout


def test_the_environment_of_another_folder_is_not_deleted_through_a_link(tmp_path, monkeypatch):
    theirs = tmp_path / "theirs" / ".venv"
    theirs.mkdir(parents=True)
    (theirs / "pyvenv.cfg").touch()
    (tmp_path / ".venv").symlink_to(theirs)
    monkeypatch.setattr(setup_venv, "VENV", tmp_path / ".venv")
    with pytest.raises(setup_venv.SetupError, match=r"\.venv is a link to .*theirs/\.venv, .*; remove the link"):
        setup_venv.make_venv()
    assert (theirs / "pyvenv.cfg").exists()
