"""The command line: wrong arguments, errors in one line, and exit statuses."""

import argparse
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from fashion.errors import FashionError, InputError
from fashion.paths import PROJECT
from fashion.standard_output import guard_standard_output

WRONG_INPUT, INTERRUPTED = 2, 130  # exit statuses

# Set by a signal beside the exception it raises, because libraries swallow exceptions in their callbacks.
interrupted = threading.Event()


class ArgumentParser(argparse.ArgumentParser):
    """Reports wrong arguments like any other error: in one line, with exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        fail(InputError(f"{message}; see --help"))


def with_exit_status(program: Callable[[], Any]) -> None:
    """Run a program: a ``FashionError`` ends it with one line and status 2, SIGINT and SIGTERM with status 130."""
    guard_standard_output()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        _exit_on_error(_refuse_undecoded_names)
        _exit_on_error(program)
    finally:
        if sys.stdout is not None:  # it is where standard output is closed
            _exit_on_error(sys.stdout.flush)


def fail(error: FashionError) -> NoReturn:
    """Print one line on standard error and exit with status 2; ``FASHION_DEBUG=1`` shows the traceback before it."""
    if os.environ.get("FASHION_DEBUG") == "1":
        traceback.print_exception(error)
    _report(f"error: {error}")
    sys.exit(WRONG_INPUT)


def _exit_on_error(program: Callable[[], Any]) -> None:
    try:
        program()
    except FashionError as error:
        fail(error)
    except KeyboardInterrupt:
        _report("interrupted")
        sys.exit(INTERRUPTED)


def _report(line: str) -> None:
    with contextlib.suppress(OSError):  # the exit status still says it where standard error cannot be written
        print(line, file=sys.stderr)


def _refuse_undecoded_names() -> None:
    """Refuse names that the locale's encoding cannot represent: libraries fail on them, each in its own way."""
    encoding = sys.getfilesystemencoding()
    for name in (str(PROJECT), os.getcwd(), *sys.argv[1:]):
        if encoding != "utf-8" and not name.isascii() and any(0xDC80 <= ord(letter) <= 0xDCFF for letter in name):
            shown = os.fsencode(name).decode(errors="replace")
            raise InputError(f"{shown}: has characters that the locale's encoding, {encoding}, lacks; set PYTHONUTF8=1")


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    interrupted.set()
    raise KeyboardInterrupt
