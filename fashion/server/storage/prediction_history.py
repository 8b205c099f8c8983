"""The predictions that people got on the page, their feedback, and the images if the operator keeps them."""

import datetime
import logging
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fashion.server.settings import MEBIBYTE, Settings
from fashion.server.storage.database import Database
from fashion.server.storage.tables import ImageRow, PredictionRow, utc_now

logger = logging.getLogger(__name__)

NONE_OF_THESE = "Something else"
MAX_COMMENT_CHARACTERS = 200
RETENTION = datetime.timedelta(days=90)  # of predictions without feedback; the same as the request log's

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


class PastPrediction(NamedTuple):
    """A prediction that an account got.

    Attributes:
        id: Its number.
        account: The account's name.
        time: When it was made, in UTC.
        request_id: The id of its request in the log.
        picture_sha256: Digest of the uploaded bytes.
        model_version: The first characters of the model file's SHA-256.
        predicted_class: The most probable class.
        confidence: Its probability.
        decision: ``accept`` or ``abstain``.
        said_class: The account's feedback: a class, ``NONE_OF_THESE``, or None without feedback.
        comment: The comment in the feedback.
        has_image: Whether the image is stored.
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
    has_image: bool

    @property
    def was_right(self) -> bool | None:
        """Whether the feedback confirms the prediction; None without feedback."""
        return None if self.said_class is None else self.said_class == self.predicted_class


class PredictionHistory:
    """The predictions in a database. Every method raises StorageUnavailableError if the database cannot be used.

    Args:
        database: The database.
        settings: Whether images are kept, for how long, and how much space they may take.

    Attributes:
        keeps_images: Whether new images are stored.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self.keeps_images = settings.keep_images
        self._image_retention = datetime.timedelta(days=settings.keep_images_days)
        self._max_image_bytes = settings.keep_images_mebibytes * MEBIBYTE

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
    ) -> int | None:
        """Store a prediction, unless the account was removed meanwhile.

        Args:
            account: The account that got it.
            request_id: The id of its request in the log.
            picture_sha256: Digest of the uploaded bytes.
            model_version: The model that made it.
            predicted_class: The most probable class.
            confidence: Its probability.
            decision: ``accept`` or ``abstain``.
            jpeg: The image, stored if the settings say so.

        Returns:
            The prediction's number; None without such an account.
        """
        now = utc_now()
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
        try:
            with self._database.writing() as connection:
                number = connection.scalar(insert(PredictionRow).returning(PredictionRow.id), values)
                if jpeg is not None and self.keeps_images:
                    image = {"prediction": number, "time": now, "size": len(jpeg), "jpeg": jpeg}
                    connection.execute(insert(ImageRow).values(image))
                    self._delete_excess_images(connection)
        except IntegrityError:
            return None
        return number

    def page(self, account: str, number: int, size: int) -> tuple[list[PastPrediction], int]:
        """Return one page of an account's predictions, newest first, and the number of all its predictions.

        Args:
            account: The account's name.
            number: Which page, counted from 1.
            size: Predictions per page.
        """
        own = PredictionRow.account == account
        rows = self._select().where(own).order_by(PredictionRow.id.desc()).offset((number - 1) * size).limit(size)
        with self._database.reading() as connection:
            count = connection.scalar(select(func.count()).select_from(PredictionRow).where(own)) or 0
            return [PastPrediction(*row) for row in connection.execute(rows)], count

    def find(self, number: int, account: str) -> PastPrediction | None:
        """Return a prediction if the account owns it."""
        with self._database.reading() as connection:
            row = connection.execute(self._select().where(_matching(number, account))).one_or_none()
        return None if row is None else PastPrediction(*row)

    def image(self, number: int, account: str | None) -> bytes | None:
        """Return the stored JPEG of a prediction if the account owns it; with None, whoever owns it."""
        stored = select(ImageRow.jpeg).join(PredictionRow, PredictionRow.id == ImageRow.prediction)
        with self._database.reading() as connection:
            return connection.scalar(stored.where(_matching(number, account), self._image_is_current()))

    def give_feedback(self, number: int, account: str, said_class: str | None, comment: str = "") -> bool:
        """Store an account's feedback on its prediction; None for the class withdraws it.

        Returns:
            Whether the account has such a prediction.
        """
        values = {"said_class": said_class, "comment": comment[:MAX_COMMENT_CHARACTERS] or None}
        statement = update(PredictionRow).where(_matching(number, account)).values(values)
        with self._database.writing() as connection:
            return bool(connection.execute(statement).rowcount)

    def delete(self, account: str, number: int | None = None) -> int:
        """Delete one prediction of an account, or all of them, with feedback and images.

        Returns:
            How many were deleted.
        """
        chosen = PredictionRow.account == account if number is None else _matching(number, account)
        with self._database.writing() as connection:
            return connection.execute(delete(PredictionRow).where(chosen)).rowcount

    def with_feedback(self) -> list[PastPrediction]:
        """Return all predictions that have feedback, oldest first."""
        rows = self._select().where(PredictionRow.said_class.is_not(None)).order_by(PredictionRow.id)
        with self._database.reading() as connection:
            return [PastPrediction(*row) for row in connection.execute(rows)]

    def prune(self) -> None:
        """Delete what is past its retention; all images if the operator no longer keeps any. A failure is logged."""
        try:
            with self._database.writing() as connection:
                connection.execute(delete(ImageRow).where(~self._image_is_current()))
                old = (PredictionRow.time <= utc_now() - RETENTION) & PredictionRow.said_class.is_(None)
                connection.execute(delete(PredictionRow).where(old))
        except Exception as error:  # noqa: BLE001  # the thread that calls this every hour must not end
            logger.warning("old predictions were not deleted: %s", error, extra={"outage": "database"})

    def _select(self) -> Select[*tuple[Any, ...]]:
        stored = select(ImageRow.prediction).where(ImageRow.prediction == PredictionRow.id, self._image_is_current())
        return select(*COLUMNS, stored.exists())

    def _image_is_current(self) -> ColumnElement[bool]:
        oldest = utc_now() - self._image_retention if self.keeps_images else utc_now()
        return ImageRow.time > oldest

    def _delete_excess_images(self, connection: Connection) -> None:
        """Delete the oldest images beyond the space that all of them may take."""
        newer = func.sum(ImageRow.size).over(order_by=ImageRow.prediction.desc())
        sums = select(ImageRow.prediction, newer.label("newer")).subquery()
        total = connection.scalar(select(func.sum(ImageRow.size))) or 0
        if total > self._max_image_bytes:
            excess = select(sums.c.prediction).where(sums.c.newer > self._max_image_bytes)
            connection.execute(delete(ImageRow).where(ImageRow.prediction.in_(excess)))


def _matching(number: int, account: str | None) -> ColumnElement[bool]:
    chosen = PredictionRow.id == number
    return chosen if account is None else chosen & (PredictionRow.account == account)
