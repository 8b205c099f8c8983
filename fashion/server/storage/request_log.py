"""The log of requests in the database: who asked what, when, and what the answer was."""

import datetime
import logging
import queue
import threading
import time
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from fashion.errors import StorageUnavailableError
from fashion.server.storage.database import Database, RequestRow

logger = logging.getLogger(__name__)

KEPT_FOR = datetime.timedelta(days=90)
KEPT_REQUESTS = 1_000_000  # about 250 MB in SQLite
PRUNED_EVERY = datetime.timedelta(hours=1)

MOST_WAITING = 10_000  # more are dropped: a log must not stop the server
GATHERED_SECONDS = 0.2


class Request(NamedTuple):
    """A request that was answered; neither the picture, nor its name, nor anything secret.

    Attributes:
        time: When it came, in UTC.
        request_id: What the answer and the log line call it; at most 128 characters, as are the others' texts.
        account: Who asked; None when nobody logged in.
        route: The route that matched, not the path that was asked for.
        status: Of the answer.
        predicted_class: The answer's class, where there is one.
        confidence: In that class.
        decode_ms: Milliseconds to read the picture.
        preprocess_ms: Milliseconds to make 28 x 28 of it.
        infer_ms: Milliseconds in the model, and waiting for it.
        picture_sha256: Digest of the bytes that were sent.
        decision: ``accept`` or ``abstain``, where there is a class.
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
    """Writes requests to the database in a thread of its own, so that no answer waits for a disk.

    What is too old or too much is deleted as it goes. Make it after a fork, and close it to lose nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.Queue[Request | None] = queue.Queue(MOST_WAITING)
        self._pruned: datetime.datetime | None = None
        self._writer = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._writer.start()

    def record(self, request: Request) -> None:
        """Take note of a request; it is in the database a moment later."""
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            logger.warning("request log: the database does not keep up; request %s is not in it", request.request_id)

    def close(self) -> None:
        """Write what is waiting, and stop."""
        self._waiting.put(None)
        self._writer.join()

    def _write(self) -> None:
        closing = False
        while not closing:
            batch = [self._waiting.get()]
            time.sleep(GATHERED_SECONDS)  # one transaction for many requests
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            closing = None in batch
            requests = [request._asdict() for request in batch if request is not None]
            try:
                with self._database.writing() as connection:
                    if requests:
                        connection.execute(insert(RequestRow), requests)
                self._prune()
            except (StorageUnavailableError, SQLAlchemyError) as error:
                logger.warning("request log: %d requests are not in it: %s", len(requests), error)

    def _prune(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        if self._pruned is not None and now - self._pruned < PRUNED_EVERY:
            return
        self._pruned = now
        with self._database.writing() as connection:
            connection.execute(delete(RequestRow).where(RequestRow.time < now - KEPT_FOR))
            newest = connection.scalar(select(func.max(RequestRow.id)))
            if newest is not None:
                connection.execute(delete(RequestRow).where(RequestRow.id <= newest - KEPT_REQUESTS))
