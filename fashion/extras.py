"""Packages that are not installed by default, the extras of ``pyproject.toml``: how a user gets them."""

import importlib.util
from collections.abc import Mapping

from fashion.errors import InputError


def install_command(extra: str) -> str:
    """Return the command that adds an extra to the project's environment, for messages."""
    return f".venv/bin/python scripts/setup_venv.py --extra {extra}"


def check_packages(needed_by: str, packages: Mapping[str, str], extra: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        needed_by: What cannot do without them, as the message begins: a command or a key.
        packages: Name of each on PyPI to the module that it has.
        extra: The extra that contains them.

    Raises:
        InputError: When one is missing.
    """
    for package, module in packages.items():
        if importlib.util.find_spec(module) is None:
            raise InputError(
                f"{needed_by}: needs {package}, which is not installed; install it with {install_command(extra)}"
            )
