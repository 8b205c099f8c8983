"""Logging as JSON: one line per message on standard error, from this program and from every library."""

import logging
import os
import sys
from typing import Any

import structlog
from gunicorn.glogging import Logger


def configure_logging() -> None:
    """Configure structlog and the standard library's logging of this process."""
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
        logger_factory=_UnlockedLogger,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)


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

    def __init__(self, *name: str) -> None:
        pass

    def msg(self, message: str) -> None:
        os.write(sys.stderr.fileno(), f"{message}\n".encode())

    debug = info = warning = error = critical = exception = msg
