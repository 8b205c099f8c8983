"""``make install``: what pip is asked for."""

import subprocess
import sys

import pytest

from fashion.paths import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
from setup_venv import project_with


@pytest.mark.parametrize("extras", [[], ["dev"], ["dev", "postgresql"]])
@pytest.mark.process
def test_pip_takes_the_project_with_and_without_extras(extras):
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-build-isolation", "--editable"]
    finished = subprocess.run([*command, project_with(extras)], capture_output=True, text=True, cwd=PROJECT)
    assert finished.returncode == 0, finished.stderr
    assert "Would install fashion" in finished.stdout
