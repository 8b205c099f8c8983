"""The extras of ``pyproject.toml``: a package that is missing, and the command that installs it."""

import re
import tomllib

import pytest

from fashion.errors import InputError
from fashion.extras import check_packages
from fashion.paths import PROJECT


def test_a_missing_package_is_one_line_that_says_how_to_install_it():
    with pytest.raises(InputError) as error:
        check_packages("audit", {"NumPy": "numpy", "not-installed": "not_installed"}, "audit")
    assert str(error.value) == (
        "audit: needs not-installed, which is not installed; "
        "install it with .venv/bin/python scripts/setup_venv.py --extra audit"
    )


def test_installed_packages_are_not_imported(monkeypatch):
    monkeypatch.setattr("builtins.__import__", lambda *call, **named: pytest.fail(f"imports {call[0]}"))
    check_packages("audit", {"NumPy": "numpy"}, "audit")


def test_every_extra_that_a_message_names_exists():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    sources = "".join(file.read_text(encoding="utf-8") for file in (PROJECT / "fashion").rglob("*.py"))
    named = re.findall(r"""install_command\(["'](\w+)["']\)""", sources)
    assert len(named) >= 8
    assert set(named) <= set(extras)
