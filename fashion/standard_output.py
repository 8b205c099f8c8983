"""Standard output that cannot be written: its disk is full, or the program that read it has ended."""

import contextlib
import io
import os
import signal
import sys

from fashion.errors import WriteError

READER_ENDED = 128 + signal.SIGPIPE  # what a shell reports for any program that this ends


class StandardOutput(io.TextIOWrapper):
    """A text stream that reports its first failure in one line, and discards what is written after it.

    Attributes:
        required: Whether a failure ends the program, because what it prints is its result. Otherwise it continues,
            with one line on standard error.
    """

    required = True

    def write(self, text: str) -> int:
        """Write a text.

        Raises:
            WriteError: On the first failure, where the output is required.
            SystemExit: If the reader has ended, where the output is required.
        """
        try:
            return super().write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered; raises what ``write`` does."""
        try:
            super().flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        # Python would write its buffer again at exit, and report the same error in its own way. Child processes and
        # native libraries have the descriptor too.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        reason = f"standard output cannot be written ({error.strerror})"
        if not self.required:
            with contextlib.suppress(OSError):
                print(f"warning: {reason}; the run continues without it", file=sys.stderr)
        elif isinstance(error, BrokenPipeError):
            raise SystemExit(READER_ENDED) from None
        else:
            raise WriteError(f"{reason}; write to another disk, or free some space") from error


def guard_standard_output() -> None:
    """Replace ``sys.stdout`` by a ``StandardOutput``, unless it is one, is closed, or is captured by a test."""
    original = sys.__stdout__
    if original is None or sys.stdout is not original:
        return
    unbuffered = original.write_through  # python -u
    sys.stdout = StandardOutput(
        open(original.fileno(), "wb", buffering=0 if unbuffered else -1, closefd=False),  # noqa: SIM115
        encoding=original.encoding,
        errors="backslashreplace",  # the locale's encoding may lack a character of a progress bar
        line_buffering=original.line_buffering,
        write_through=unbuffered,
    )


def continue_without_output() -> None:
    """Let this process continue if standard output fails from now on: its results are in files."""
    if isinstance(sys.stdout, StandardOutput):
        sys.stdout.required = False
