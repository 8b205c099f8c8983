"""Logging as JSON: one line per message on standard error, from this program and from every library."""

import io
import logging
import sys
from typing import Any

import structlog
from gunicorn.glogging import Logger

from fashion.server.process.log_output import LogOutput
from fashion.server.process.outage_filter import OutageFilter


def configure_logging() -> LogOutput:
    """Configure structlog, the standard library's logging, and what else writes to standard error in Python.

    Returns:
        Where all of them write to.
    """
    output = LogOutput()
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(output), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*shared, *rendering],
        logger_factory=lambda *name: _UnlockedLogger(output),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.addFilter(OutageFilter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    return output


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn has no annotations
    """Sends gunicorn's own messages to the root logger; the application logs requests."""

    def setup(self, cfg: Any) -> None:
        """Leave formatting and writing to the root logger."""
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)


class _UnlockedLogger:
    """Writes each message with one system call, without a lock.

    structlog's own loggers hold a lock while they write. A writing thread releases Python's global lock and may wait
    5 ms to get it back; with the logger's lock held, it would make all others wait too.
    """

    def __init__(self, output: LogOutput) -> None:
        self._output = output

    def msg(self, message: str) -> None:
        self._output.write(f"{message}\n".encode(errors="backslashreplace"))

    debug = info = warning = error = critical = exception = msg
