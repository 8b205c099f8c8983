"""A contender of the training benchmarks, in a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fashion.benchmarks.child import last_line
from fashion.errors import InputError
from fashion.paths import PROJECT


class ContenderProcess:
    """A contender in a process of its own; see ``fashion.benchmarks.contenders`` for the commands.

    Args:
        name: A key of ``CONTENDERS``.
        folder: Where contenders leave files for each other; gets the log.
        cache: Cache folder, with the compiled programs.
        overrides: Of the contender's configuration.

    Raises:
        InputError: The process stopped; the message has its last line.
    """

    def __init__(self, name: str, folder: Path, cache: Path, *overrides: str) -> None:
        command = [sys.executable, "-m", "fashion.benchmarks.contenders", name, str(folder), *overrides]
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.name, self._log = name, folder / f"{name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            self._answer()
        except BaseException:  # such as Ctrl-C
            self.stop()
            raise

    def ask(self, do: str, **arguments: Any) -> Any:
        """Send one command and return its answer."""
        if self._process.stdin is None:
            raise InputError(f"{self.name}: the process accepts no commands")
        with contextlib.suppress(BrokenPipeError):  # it stopped: there is no answer
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self.stop()
            raise InputError(f"benchmark: the contender {self.name} stopped: {last_line(self._log.read_text())}")
        return json.loads(line)

    def stop(self) -> None:
        """End the process, and close the pipes to it."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def running(name: str, folder: Path, *overrides: str) -> Iterator[ContenderProcess]:
    """Run a contender in a process of its own while the block runs."""
    process = ContenderProcess(name, folder, folder / "cache", *overrides)
    try:
        yield process
    finally:
        process.stop()
