"""Standard error as a stream that never blocks and never fails, so that logging can never delay or fail a request."""

import atexit
import collections
import contextlib
import datetime
import errno
import io
import json
import os
import stat
import threading
import time
from collections.abc import Callable

MAX_PENDING_LINES = 1000  # a reader may be that much behind before lines are lost
RETRY_SECONDS = 0.5
EXIT_SECONDS = 1.0  # for pending lines, when the process ends

STANDARD_ERROR = 2


class LogOutput(io.RawIOBase):
    """Writes whole lines to standard error, whatever is at its other end.

    The calling thread writes a line at once, if that cannot block. If it could (a pipe whose reader is slow or stopped)
    or if it fails (a full disk, a pipe whose reader has ended), this and all further lines go through a bounded queue
    to a thread of their own. Lines that find the queue full are lost. They are counted, and reported once, as soon as
    writing succeeds again.

    Processes that are forked later use the same standard error with a queue and a thread of their own.

    Attributes:
        on_loss: Called for each lost line.
    """

    def __init__(self) -> None:
        self.on_loss: Callable[[], object] = lambda: None
        _open_closed_standard_error()
        self._blocking = os.dup(STANDARD_ERROR)  # for the thread; not affected when libraries redirect the original
        self._immediate = _never_blocking(self._blocking)
        if self._immediate is not None:
            # For C and C++ libraries, which write without asking.
            os.dup2(self._immediate, STANDARD_ERROR)
        self._start_afresh()
        os.register_at_fork(after_in_child=self._start_afresh)
        atexit.register(self.drain)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of standard error."""
        return STANDARD_ERROR

    def write(self, line: "bytes | memoryview") -> int:  # type: ignore[override]
        """Write a line now, or as soon as that is possible; it is lost if too many are waiting.

        Args:
            line: One or several whole lines.

        Returns:
            The number of its bytes.
        """
        rest = bytes(line)
        if self._immediate is not None and not self._behind:
            with contextlib.suppress(OSError):
                rest = rest[os.write(self._immediate, rest) :]
        if rest:
            self._enqueue(rest)
        return len(line)

    def drain(self, seconds: float = EXIT_SECONDS) -> None:
        """Wait until no line is pending, for a limited time; called when the process ends."""
        with self._changed:
            self._changed.wait_for(lambda: not self._behind, seconds)

    def _start_afresh(self) -> None:
        """Start with an empty queue; the pending lines of a parent process are its own to write."""
        self._changed = threading.Condition()
        self._pending: collections.deque[bytes] = collections.deque()
        self._lost = 0
        self._behind = False  # whether lines must queue, to stay in order
        self._writer: threading.Thread | None = None

    def _enqueue(self, line: bytes) -> None:
        with self._changed:
            # After the first loss all are lost until the queue is empty, so that each gap in the log is reported once.
            if self._lost or len(self._pending) >= MAX_PENDING_LINES:
                self._lost += 1
                self.on_loss()
                return
            self._pending.append(line)
            self._behind = True
            self._changed.notify_all()
            if self._writer is None:
                writer = threading.Thread(target=self._write_pending, name="log-output", daemon=True)
                with contextlib.suppress(RuntimeError):  # no more threads: try again with the next line
                    writer.start()
                    self._writer = writer

    def _write_pending(self) -> None:
        while True:
            line = self._next()
            try:
                written = os.write(self._blocking, line)
            except OSError:
                time.sleep(RETRY_SECONDS)
                continue
            with self._changed:
                self._pending.popleft()
                if written < len(line):
                    self._pending.appendleft(line[written:])

    def _next(self) -> bytes:
        """Wait for the first pending line, which stays in the queue until it is written."""
        with self._changed:
            while not self._pending:
                if self._lost:
                    self._pending.append(_report(self._lost))
                    self._lost = 0
                    break
                self._behind = False
                self._changed.notify_all()
                self._changed.wait()
            return self._pending[0]


def _never_blocking(descriptor: int) -> int | None:
    """Return a descriptor of the same file that never blocks, or None if there is none.

    All processes that inherited a pipe or a terminal share its ``O_NONBLOCK``, which would break those that do not
    expect it. Linux can open it a second time, unless another user created it.
    """
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(kind):
        return None
    if not stat.S_ISFIFO(kind) and not os.isatty(descriptor):
        return descriptor
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None


def _open_closed_standard_error() -> None:
    """Open the null device as standard error if it is closed: the next file to be opened would take its number."""
    try:
        os.fstat(STANDARD_ERROR)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        null = os.open(os.devnull, os.O_WRONLY)
        if null != STANDARD_ERROR:
            os.dup2(null, STANDARD_ERROR)
            os.close(null)


def _report(lost: int) -> bytes:
    line = {
        "dropped": lost,
        "pid": os.getpid(),
        "level": "warning",
        "timestamp": datetime.datetime.now(datetime.UTC).isoformat(),
        "message": "log lines were dropped, because standard error could not be written",
    }
    return json.dumps(line).encode() + b"\n"
