"""The tables of the server's database. Times are UTC.

Where a column or table says ``picture``, it means an uploaded image: released schemas keep their names.
"""

import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, DateTime, Dialect, Double, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

BIG_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself for INTEGER keys only
CLASS_NAME = String(64).with_variant(Text(), "postgresql")  # SQLite does not enforce lengths


class UtcDateTime(TypeDecorator[datetime.datetime]):
    """A timezone-aware UTC time, also on SQLite, which stores no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        """Store UTC."""
        return value and value.astimezone(datetime.UTC)

    def process_result_value(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        """Return UTC: SQLite returns a naive time, PostgreSQL one in the time zone of the connection."""
        if value is None or value.tzinfo is None:
            return value and value.replace(tzinfo=datetime.UTC)
        return value.astimezone(datetime.UTC)


class Base(DeclarativeBase):
    """The base class of all tables."""

    type_annotation_map: ClassVar = {datetime.datetime: UtcDateTime(), float: Double()}


class AccountRow(Base):
    """A person or program that may use the server."""

    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(255))
    created: Mapped[datetime.datetime]


class TokenRow(Base):
    """An access token of an account; only its digest is stored."""

    __tablename__ = "tokens"
    __table_args__ = ({"sqlite_autoincrement": True},)  # the id of a revoked token is never reused

    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name", ondelete="CASCADE"), index=True)
    label: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime.datetime]
    expires: Mapped[datetime.datetime | None]
    last_used: Mapped[datetime.datetime | None]


class RequestRow(Base):
    """An answered request, without the image or its file name."""

    __tablename__ = "requests"

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    time: Mapped[datetime.datetime] = mapped_column(index=True)
    request_id: Mapped[str] = mapped_column(String(128))
    account: Mapped[str | None] = mapped_column(String(64))
    route: Mapped[str] = mapped_column(String(128))
    status: Mapped[int]
    predicted_class: Mapped[str | None] = mapped_column(CLASS_NAME)
    confidence: Mapped[float | None]
    decode_ms: Mapped[float | None]
    preprocess_ms: Mapped[float | None]
    infer_ms: Mapped[float | None]
    picture_sha256: Mapped[str | None] = mapped_column(String(64))
    decision: Mapped[str | None] = mapped_column(String(16))


class SessionRow(Base):
    """A browser session; only the digest of its cookie is stored."""

    __tablename__ = "sessions"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name", ondelete="CASCADE"), index=True)
    created: Mapped[datetime.datetime]
    last_used: Mapped[datetime.datetime]


class PredictionRow(Base):
    """A prediction made on the page and the feedback on it, without the image or its file name."""

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_account_id", "account", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name", ondelete="CASCADE"))
    time: Mapped[datetime.datetime] = mapped_column(index=True)
    request_id: Mapped[str] = mapped_column(String(128))
    picture_sha256: Mapped[str] = mapped_column(String(64))
    model_version: Mapped[str] = mapped_column(String(16))
    predicted_class: Mapped[str] = mapped_column(CLASS_NAME)
    confidence: Mapped[float]
    decision: Mapped[str] = mapped_column(String(16))
    said_class: Mapped[str | None] = mapped_column(CLASS_NAME)
    comment: Mapped[str | None] = mapped_column(String(200))


class ImageRow(Base):
    """An uploaded image, stored if the operator enables it: re-encoded, so that it carries pixels and no metadata."""

    __tablename__ = "pictures"

    prediction: Mapped[int] = mapped_column(
        BIG_ID, ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    time: Mapped[datetime.datetime] = mapped_column(index=True)
    size: Mapped[int]
    jpeg: Mapped[bytes] = mapped_column(LargeBinary)


def utc_now() -> datetime.datetime:
    """Return the current time, timezone-aware."""
    return datetime.datetime.now(datetime.UTC)
