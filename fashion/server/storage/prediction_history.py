"""The answers that people got on the page, what they said to them, and the pictures where the operator keeps them."""

import datetime
import logging
import threading
import time
from typing import Any, NamedTuple

from flask import current_app
from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from fashion.errors import StorageUnavailableError
from fashion.server.settings import MEBIBYTE, Settings
from fashion.server.storage.database import Database, PictureRow, PredictionRow

logger = logging.getLogger(__name__)

NONE_OF_THESE = "Something else"
LONGEST_COMMENT = 200
KEPT_FOR = datetime.timedelta(days=90)  # answers that nobody said anything to; as long as the log of requests
PRUNED_EVERY_SECONDS = 3600

COLUMNS = (
    PredictionRow.id,
    PredictionRow.account,
    PredictionRow.time,
    PredictionRow.request_id,
    PredictionRow.picture_sha256,
    PredictionRow.model_version,
    PredictionRow.predicted_class,
    PredictionRow.confidence,
    PredictionRow.decision,
    PredictionRow.said_class,
    PredictionRow.comment,
)


class Prediction(NamedTuple):
    """An answer that an account got.

    Attributes:
        id: Its number.
        account: Who asked.
        time: When, in UTC.
        request_id: What the log calls the request.
        picture_sha256: Digest of the bytes that were sent.
        model_version: The beginning of the model file's SHA-256.
        predicted_class: The answer.
        confidence: Its probability.
        decision: ``accept`` or ``abstain``.
        said_class: What the account says it is: a class, ``NONE_OF_THESE``, or nothing yet.
        comment: What the account wrote to that.
        has_picture: Whether the picture is kept.
    """

    id: int
    account: str
    time: datetime.datetime
    request_id: str
    picture_sha256: str
    model_version: str
    predicted_class: str
    confidence: float
    decision: str
    said_class: str | None
    comment: str | None
    has_picture: bool

    @property
    def was_right(self) -> bool | None:
        """Whether the account agrees; None: it said nothing."""
        return None if self.said_class is None else self.said_class == self.predicted_class


class Predictions:
    """The answers in a database. Every operation raises StorageUnavailableError when it cannot be used.

    Args:
        database: Where they are.
        settings: Whether pictures are kept, how long, and how much of them.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._keeps_pictures = settings.keep_pictures
        self._pictures_for = datetime.timedelta(days=settings.keep_pictures_days)
        self._most_bytes = settings.keep_pictures_mebibytes * MEBIBYTE
        self._pruning = threading.Lock()
        self._pruned: float | None = None

    @property
    def keeps_pictures(self) -> bool:
        """Whether new pictures are kept."""
        return self._keeps_pictures

    def add(
        self,
        account: str,
        request_id: str,
        picture_sha256: str,
        model_version: str,
        predicted_class: str,
        confidence: float,
        decision: str,
        jpeg: bytes | None = None,
    ) -> int:
        """Take note of an answer.

        Args:
            account: Who got it.
            request_id: What the log calls the request.
            picture_sha256: Digest of the bytes that were sent.
            model_version: Which model answered.
            predicted_class: What it said.
            confidence: How sure it was.
            decision: ``accept`` or ``abstain``.
            jpeg: The picture, to be kept if the settings say so.

        Returns:
            Its number.
        """
        now = _now()
        values = {
            "account": account,
            "time": now,
            "request_id": request_id,
            "picture_sha256": picture_sha256,
            "model_version": model_version,
            "predicted_class": predicted_class,
            "confidence": confidence,
            "decision": decision,
        }
        with self._database.writing() as connection:
            number = connection.scalar(insert(PredictionRow).returning(PredictionRow.id), values)
            if jpeg is not None and self._keeps_pictures:
                picture = {"prediction": number, "time": now, "size": len(jpeg), "jpeg": jpeg}
                connection.execute(insert(PictureRow).values(picture))
                self._make_room(connection)
        return int(number or 0)

    def of(self, account: str, page: int, per_page: int) -> tuple[list[Prediction], int]:
        """Return one page, counted from 1, of an account's answers, newest first; and how many there are in all."""
        own = PredictionRow.account == account
        with self._database.reading() as connection:
            count = connection.scalar(select(func.count()).select_from(PredictionRow).where(own)) or 0
            rows = connection.execute(
                self._select()
                .where(own)
                .order_by(PredictionRow.id.desc())
                .offset((page - 1) * per_page)
                .limit(per_page)
            )
            return [Prediction(*row) for row in rows], count

    def find(self, number: int, account: str | None) -> Prediction | None:
        """Return an answer, if it is the account's own; with None for the account, anybody's."""
        with self._database.reading() as connection:
            row = connection.execute(self._select().where(_own(number, account))).one_or_none()
        return None if row is None else Prediction(*row)

    def picture(self, number: int, account: str | None) -> bytes | None:
        """Return the JPEG of an answer's picture, if it is kept and the account's own; with None, anybody's."""
        kept = select(PictureRow.jpeg).join(PredictionRow, PredictionRow.id == PictureRow.prediction)
        with self._database.reading() as connection:
            return connection.scalar(kept.where(_own(number, account), self._young()))

    def say(self, number: int, account: str, said_class: str | None, comment: str = "") -> bool:
        """Note what an account says to its answer; with None, that it takes it back.

        Returns:
            Whether there is such an answer.
        """
        values = {"said_class": said_class, "comment": comment[:LONGEST_COMMENT] or None}
        with self._database.writing() as connection:
            return bool(connection.execute(update(PredictionRow).where(_own(number, account)).values(values)).rowcount)

    def delete(self, account: str, number: int | None = None) -> int:
        """Delete an answer of an account, or all of them; with what was said to them, and their pictures.

        Returns:
            How many there were.
        """
        chosen = PredictionRow.account == account if number is None else _own(number, account)
        with self._database.writing() as connection:
            return connection.execute(delete(PredictionRow).where(chosen)).rowcount

    def with_feedback(self) -> list[Prediction]:
        """Return all answers that something was said to, oldest first."""
        with self._database.reading() as connection:
            said = self._select().where(PredictionRow.said_class.is_not(None)).order_by(PredictionRow.id)
            return [Prediction(*row) for row in connection.execute(said)]

    def prune(self) -> None:
        """Delete what is too old, at most once an hour; pictures also when the operator no longer keeps any."""
        if not self._pruning.acquire(blocking=False):
            return
        try:
            if self._pruned is not None and time.monotonic() - self._pruned < PRUNED_EVERY_SECONDS:
                return
            self._pruned = time.monotonic()
            with self._database.writing() as connection:
                connection.execute(delete(PictureRow).where(~self._young()))
                old = (PredictionRow.time <= _now() - KEPT_FOR) & PredictionRow.said_class.is_(None)
                connection.execute(delete(PredictionRow).where(old))
        except StorageUnavailableError as error:  # who wanted a page gets it
            logger.warning("old answers stay for now: %s", error)
        finally:
            self._pruning.release()

    def _select(self) -> Select[*tuple[Any, ...]]:
        kept = select(PictureRow.prediction).where(PictureRow.prediction == PredictionRow.id, self._young()).exists()
        return select(*COLUMNS, kept)

    def _young(self) -> ColumnElement[bool]:
        oldest = _now() - self._pictures_for if self._keeps_pictures else _now()
        return PictureRow.time > oldest

    def _make_room(self, connection: Connection) -> None:
        """Delete the oldest pictures that are beyond the size that may be kept."""
        newer = func.sum(PictureRow.size).over(order_by=PictureRow.prediction.desc())
        sums = select(PictureRow.prediction, newer.label("newer")).subquery()
        total = connection.scalar(select(func.sum(PictureRow.size))) or 0
        if total > self._most_bytes:
            beyond = select(sums.c.prediction).where(sums.c.newer > self._most_bytes)
            connection.execute(delete(PictureRow).where(PictureRow.prediction.in_(beyond)))


def predictions() -> Predictions:
    """Return the answers that the current application keeps."""
    return current_app.extensions["predictions"]


def _own(number: int, account: str | None) -> ColumnElement[bool]:
    chosen = PredictionRow.id == number
    return chosen if account is None else chosen & (PredictionRow.account == account)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
