"""The request log in the database: who requested what, when, and with which result."""

import contextlib
import datetime
import logging
import queue
import threading
import time
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select

from fashion.server.storage.database import Database
from fashion.server.storage.tables import RequestRow, utc_now

logger = logging.getLogger(__name__)

RETENTION = datetime.timedelta(days=90)
MAX_ROWS = 1_000_000  # about 250 MB in SQLite
PRUNE_INTERVAL_SECONDS = 3600

MAX_QUEUED = 10_000  # more are dropped: a slow database must not stop the server
BATCH_SECONDS = 0.2
CLOSING_SECONDS = 5.0
OUTAGE = {"outage": "database"}


class LoggedRequest(NamedTuple):
    """An answered request, without the image, its file name or anything secret.

    Attributes:
        time: When it was answered, in UTC.
        request_id: Its id in the response and in the log line; at most 128 characters, as all texts here.
        account: The account that sent it; None if nobody was authenticated.
        route: The route that matched, not the requested path.
        status: HTTP status of the response.
        predicted_class: The most probable class, if one image was classified.
        confidence: Its probability.
        decode_ms: Milliseconds to decode the image.
        preprocess_ms: Milliseconds to preprocess it.
        infer_ms: Milliseconds in the model, waiting for it included.
        picture_sha256: Digest of the uploaded bytes.
        decision: ``accept`` or ``abstain``.
    """

    time: datetime.datetime
    request_id: str
    account: str | None
    route: str
    status: int
    predicted_class: str | None = None
    confidence: float | None = None
    decode_ms: float | None = None
    preprocess_ms: float | None = None
    infer_ms: float | None = None
    picture_sha256: str | None = None
    decision: str | None = None


class RequestLog:
    """Writes requests to the database from a thread of its own, so that no response waits for a disk.

    Old and excess rows are deleted at the start and every hour. Create it after a fork; close it to lose nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.Queue[LoggedRequest | None] = queue.Queue(MAX_QUEUED)
        self._next_prune = time.monotonic()
        self._writer = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._writer.start()

    def record(self, request: LoggedRequest) -> None:
        """Queue a request; it is in the database a moment later."""
        try:
            self._queue.put_nowait(request)
        except queue.Full:
            logger.warning(
                "request log: dropped request %s, the database is too slow", request.request_id, extra=OUTAGE
            )

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Write what is queued, and stop; what a slow database has not taken by then is lost."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._writer.join(seconds)
        if self._writer.is_alive():
            logger.warning(
                "request log: ends with requests that are not stored, the database is too slow", extra=OUTAGE
            )

    def _write(self) -> None:
        """Run until the end of the process: whatever fails is logged."""
        closing = False
        while not closing:
            if time.monotonic() >= self._next_prune:
                self._prune()
            batch = self._next_batch()
            closing = None in batch
            requests = [request._asdict() for request in batch if request is not None]
            try:
                if requests:
                    with self._database.writing() as connection:
                        connection.execute(insert(RequestRow), requests)
            except Exception as error:  # noqa: BLE001
                logger.warning("request log: lost %d requests: %s", len(requests), error, extra=OUTAGE)

    def _next_batch(self) -> list[LoggedRequest | None]:
        """Wait for requests until it is time to prune."""
        try:
            batch = [self._queue.get(timeout=max(0, self._next_prune - time.monotonic()))]
        except queue.Empty:
            return []
        time.sleep(BATCH_SECONDS)  # one transaction for many requests
        while not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _prune(self) -> None:
        """Delete old and excess rows; after a failure, too, the next time is an interval later."""
        self._next_prune = time.monotonic() + PRUNE_INTERVAL_SECONDS
        try:
            with self._database.writing() as connection:
                connection.execute(delete(RequestRow).where(RequestRow.time < utc_now() - RETENTION))
                newest = connection.scalar(select(func.max(RequestRow.id)))
                if newest is not None:
                    connection.execute(delete(RequestRow).where(RequestRow.id <= newest - MAX_ROWS))
        except Exception as error:  # noqa: BLE001
            logger.warning("request log: old requests were not deleted: %s", error, extra=OUTAGE)
