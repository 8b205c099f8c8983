"""The server's database: its tables, how it is reached, and its upgrade to this program's schema.

SQLite is a file of the server's own; PostgreSQL is for a server on several machines. Times are UTC.
"""

import contextlib
import datetime
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import alembic.command
import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

from fashion.errors import InputError, StorageUnavailableError
from fashion.paths import OUTPUTS

DEFAULT_DATABASE_URL = f"sqlite:///{OUTPUTS / 'server' / 'fashion.db'}"

BUSY_MILLISECONDS = 10_000  # how long SQLite waits for another writer
CONNECT_SECONDS = "5"  # how long PostgreSQL may take to answer
SILENCE_MILLISECONDS = "5000"  # a network that delivers nothing for so long is gone; TCP would try for minutes
UPGRADE_LOCK = 0x66617368  # PostgreSQL's advisory locks are known by a number; this one is ours

EXPECTED = "expected sqlite:///FILE or postgresql://USER@HOST/NAME"


class UtcDateTime(TypeDecorator[datetime.datetime]):
    """A time with its zone, UTC, also on SQLite, which keeps none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        """Store UTC."""
        return value and value.astimezone(datetime.UTC)

    def process_result_value(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        """Return UTC: SQLite gives it without its zone, PostgreSQL in the zone of the session."""
        if value is None or value.tzinfo is None:
            return value and value.replace(tzinfo=datetime.UTC)
        return value.astimezone(datetime.UTC)


class Table(DeclarativeBase):
    """What all tables share."""

    type_annotation_map: ClassVar = {datetime.datetime: UtcDateTime(), float: Double()}


class AccountRow(Table):
    """Somebody who may ask for predictions."""

    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(255))
    created: Mapped[datetime.datetime]


class TokenRow(Table):
    """A key of an account for a program; only its digest is kept."""

    __tablename__ = "tokens"
    __table_args__ = ({"sqlite_autoincrement": True},)  # the number of a revoked token never comes back

    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name", ondelete="CASCADE"), index=True)
    label: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime.datetime]
    expires: Mapped[datetime.datetime | None]
    last_used: Mapped[datetime.datetime | None]


class RequestRow(Table):
    """A request that was answered; neither the picture nor its name."""

    __tablename__ = "requests"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    time: Mapped[datetime.datetime] = mapped_column(index=True)
    request_id: Mapped[str] = mapped_column(String(128))
    account: Mapped[str | None] = mapped_column(String(64))
    route: Mapped[str] = mapped_column(String(128))
    status: Mapped[int]
    predicted_class: Mapped[str | None] = mapped_column(String(64))
    confidence: Mapped[float | None]
    decode_ms: Mapped[float | None]
    preprocess_ms: Mapped[float | None]
    infer_ms: Mapped[float | None]
    picture_sha256: Mapped[str | None] = mapped_column(String(64))
    decision: Mapped[str | None] = mapped_column(String(16))


class SessionRow(Table):
    """Somebody signed in on the page; only the digest of the cookie is kept."""

    __tablename__ = "sessions"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name", ondelete="CASCADE"), index=True)
    created: Mapped[datetime.datetime]
    last_used: Mapped[datetime.datetime]


class PredictionRow(Table):
    """An answer that somebody got on the page, and what they said to it; neither the picture nor its name."""

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_account_id", "account", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name", ondelete="CASCADE"))
    time: Mapped[datetime.datetime] = mapped_column(index=True)
    request_id: Mapped[str] = mapped_column(String(128))
    picture_sha256: Mapped[str] = mapped_column(String(64))
    model_version: Mapped[str] = mapped_column(String(16))
    predicted_class: Mapped[str] = mapped_column(String(64))
    confidence: Mapped[float]
    decision: Mapped[str] = mapped_column(String(16))
    said_class: Mapped[str | None] = mapped_column(String(64))
    comment: Mapped[str | None] = mapped_column(String(200))


class PictureRow(Table):
    """A picture, kept where the operator wants that; made anew, so that nothing but its pixels is in it."""

    __tablename__ = "pictures"

    prediction: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"),
        ForeignKey("predictions.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    time: Mapped[datetime.datetime] = mapped_column(index=True)
    size: Mapped[int]
    jpeg: Mapped[bytes] = mapped_column(LargeBinary)


class Database:
    """Connections to one database, opened when they are first needed.

    They do not survive a fork: make one of these in each process, or close it before forking.
    """

    def __init__(self, url: str) -> None:
        """Prepare to connect; a SQLite file is made when there is none, readable by its owner alone.

        Args:
            url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST:PORT/NAME``.

        Raises:
            InputError: When the address is of another kind, or the file cannot be made.
        """
        address = _parsed(url)
        self.name = address.render_as_string().partition("?")[0]  # the password is shown as ***
        try:
            # Every thread may hold a connection; none waits for another's.
            self._engine = create_engine(address, pool_size=0, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise InputError(
                f"{self.name}: needs the package {error.name}; "
                "install it with .venv/bin/python scripts/setup_venv.py --extra postgresql"
            ) from None
        if address.get_backend_name() == "sqlite":
            _make_sqlite_file(Path(str(address.database)))
            event.listen(self._engine, "do_connect", _expect_sqlite_file)
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "checkout", _expect_same_file)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = self._engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads.

        Raises:
            StorageUnavailableError: When the database cannot be reached, or does not do what it is asked.
        """
        with self._told_in_one_line(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; on SQLite there is one at a time, and the others wait.

        Raises:
            StorageUnavailableError: When the database cannot be reached, or does not do what it is asked.
        """
        with self._told_in_one_line(), self._writer.begin() as connection:
            yield connection

    def upgrade(self) -> None:
        """Bring the schema to this program's, from nothing or from an earlier one; of several processes one does it.

        Raises:
            StorageUnavailableError: When the database cannot be reached.
            InputError: When it is of a newer program.
        """
        config = alembic.config.Config()
        config.set_main_option("script_location", "fashion.server.storage:migrations")
        known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
            newer = set(MigrationContext.configure(connection).get_current_heads()) - known
            if newer:
                raise InputError(
                    f"{self.name}: its schema is {', '.join(newer)}, this program knows {', '.join(sorted(known))}; "
                    "use the newer program that made it, or another database"
                )
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _told_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except (DataError, IntegrityError):
            raise  # about what was asked, not about the database
        except DBAPIError as error:
            reason = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
            raise StorageUnavailableError(
                f"{self.name}: the database cannot be used ({reason[0]}); check its address, and that it runs"
            ) from error


def _parsed(url: str) -> URL:
    """Read the address of a database; what is wrong is told without the address, which may hold a password."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(f"database_url: cannot be read as an address, {EXPECTED}") from None
    if address.drivername in {"sqlite", "sqlite+pysqlite"}:
        if address.database in {None, "", ":memory:"} or address.query:
            raise InputError(f"database_url: {address.render_as_string()} names no file, {EXPECTED}")
        return address
    if address.drivername in {"postgresql", "postgresql+psycopg"}:
        patience = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": SILENCE_MILLISECONDS}
        return address.update_query_dict({**patience, **address.query})
    raise InputError(f"database_url: got {address.drivername}, {EXPECTED}")


def _make_sqlite_file(path: Path) -> None:
    """Make an empty database in WAL mode, unless there is one.

    It is made beside its place and put there in one step: processes that start at once, and find a database not yet in
    WAL mode, would lock each other out in setting it.
    """
    try:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            new = Path(folder) / path.name
            new.touch(mode=0o600)
            connection = sqlite3.connect(new)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.close()
            with contextlib.suppress(FileExistsError):  # another process was quicker
                os.link(new, path)
    except OSError as error:
        raise InputError(f"{path}: the database cannot be made ({error.strerror}); choose another place") from None


def _expect_sqlite_file(_: Dialect, __: object, arguments: list[str], ___: object) -> None:
    # SQLite would make an empty file where the database was, and go on with that.
    if not os.path.exists(arguments[0]):
        raise sqlite3.OperationalError("the file is gone")


def _expect_same_file(connection: sqlite3.Connection, record: ConnectionPoolEntry, _: object) -> None:
    """Give up a connection whose file was deleted or replaced: it would read and write what nobody else sees."""
    path, opened = record.info["file"]
    if _identity(path) != opened:
        raise DisconnectionError("the file was replaced")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _set_up_sqlite(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = path, _identity(path)
    connection.isolation_level = None  # transactions begin where _begin_sqlite says, not at the first change
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    connection.execute("PRAGMA journal_mode = WAL")  # of a database that was made by another program
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that read before it writes would fail when another wrote in between, however long it may wait.
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
