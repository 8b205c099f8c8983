"""The one exception that means "the user can mend this", and how a command ends."""

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

WRONG_INPUT, INTERRUPTED = 2, 130

# Set by a signal, whatever becomes of its exception: libraries swallow exceptions in callbacks of their own.
interrupted = threading.Event()


class FashionError(Exception):
    """Wrong input or configuration, told in one sentence: what, got, expected, what to do.

    Commands print it as a single ``error: ...`` line on standard error and exit with status 2.
    A message never contains a line break.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class ArgumentParser(argparse.ArgumentParser):
    """Say what is wrong with the arguments as everything else is said: in one line, with status 2."""

    def error(self, message: str) -> NoReturn:
        """Print the one line and exit with status 2."""
        fail(FashionError(f"{message}; see --help"))


def with_exit_status(program: Callable[[], Any]) -> None:
    """Run a program's body; a user's mistake ends it with one line and status 2, SIGINT and SIGTERM with status 130."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        program()
    except FashionError as error:
        fail(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def fail(error: FashionError) -> NoReturn:
    """Print one line on standard error and exit with status 2; ``FASHION_DEBUG=1`` shows the traceback before it."""
    if os.environ.get("FASHION_DEBUG") == "1":
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)
    sys.exit(WRONG_INPUT)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    interrupted.set()
    raise KeyboardInterrupt
