"""Few log lines about an outage, however many requests it fails."""

import logging
import threading
import time

INTERVAL_SECONDS = 60.0


class OutageFilter(logging.Filter):
    """Passes one line a minute from each logger about each service that is down, with the number of those it kept back.

    Such lines are logged with ``extra={"outage": SERVICE}``; all others pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._next: dict[tuple[str, str], float] = {}  # when a line may pass, by logger and service
        self._suppressed: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a line."""
        service = getattr(record, "outage", None)
        if service is None:
            return True
        key, now = (record.name, str(service)), time.monotonic()
        with self._lock:
            if now < self._next.get(key, now):
                self._suppressed[key] = self._suppressed.get(key, 0) + 1
                return False
            self._next[key] = now + INTERVAL_SECONDS
            suppressed = self._suppressed.pop(key, 0)
        if suppressed:
            record.msg, record.args = f"{record.getMessage()} (and {suppressed} more like it since the last line)", ()
        return True
