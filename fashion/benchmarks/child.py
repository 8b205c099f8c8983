"""A command that a benchmark runs in a process of its own."""

import os
import subprocess
from collections.abc import Sequence

from fashion.errors import InputError
from fashion.paths import PROJECT


def run(what: str, command: Sequence[object], **environment: str) -> str:
    """Run a command in the project's folder, and return what it prints.

    Args:
        what: It, for the error message.
        command: The program and its arguments.
        environment: Variables beside those of this process.

    Raises:
        InputError: It failed; the message has the last line on its standard error.
    """
    finished = subprocess.run(
        [str(each) for each in command],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise InputError(f"{what}: {last_line(finished.stderr).removeprefix('error: ')}")
    return finished.stdout


def last_line(printed: str) -> str:
    """Return the last line that a process printed, which says why it stopped."""
    return (printed.strip().splitlines() or ["it printed nothing"])[-1]
