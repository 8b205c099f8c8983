"""The command line: wrong arguments, errors in one line, and exit statuses."""

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from fashion.errors import FashionError, InputError

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
