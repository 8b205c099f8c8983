"""Connections to the server's database, and the upgrade of its schema.

SQLite is a local file; PostgreSQL lets several machines share the data.
"""

import contextlib
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import alembic.command
import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Dialect, Update, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from fashion.errors import InputError, StorageUnavailableError
from fashion.extras import install_command
from fashion.paths import OUTPUTS

logger = logging.getLogger(__name__)

DEFAULT_DATABASE_URL = f"sqlite:///{OUTPUTS / 'server' / 'fashion.db'}"

KEPT_CONNECTIONS = 5  # more are closed after use, instead of staying open after the busiest moment
BUSY_MILLISECONDS = 10_000  # how long SQLite waits for another writer
CONNECT_SECONDS = "5"  # how long PostgreSQL may take to answer
TCP_TIMEOUT_MILLISECONDS = "5000"  # for unacknowledged data; TCP by itself would retry for minutes
UPGRADE_LOCK = 0x66617368  # the key of this program's PostgreSQL advisory lock: "fash"

CHECK_URL = "check its URL, or create it by starting the server or adding an account"
EXPECTED = "expected sqlite:///FILE or postgresql://USER@HOST/NAME"


class Database:
    """A pool of connections to one database, opened on first use.

    Connections do not survive a fork: create a ``Database`` in each process, or close it before forking.

    Attributes:
        name: The database's URL, with the password masked.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        """Set up the pool.

        Args:
            url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST:PORT/NAME``.
            create: Whether to create a missing SQLite file, readable by its owner alone.

        Raises:
            InputError: If the URL is of another kind, or the file is missing or cannot be created.
        """
        address = _parse(url)
        self.name = address.render_as_string().partition("?")[0]  # with *** for the password
        try:
            # No limit: every thread may need a connection, and must not wait for another thread's.
            self._engine = create_engine(address, pool_size=KEPT_CONNECTIONS, max_overflow=-1, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise InputError(
                f"{self.name}: needs the package {error.name}; install it with {install_command('postgresql')}"
            ) from None
        if address.get_backend_name() == "sqlite":
            if create:
                _create_sqlite_file(Path(str(address.database)))
            elif not os.path.isfile(str(address.database)):
                raise InputError(f"{self.name}: there is no such database; {CHECK_URL}")
            event.listen(self._engine, "do_connect", _require_sqlite_file)
            event.listen(self._engine, "connect", _configure_sqlite)
            if create:
                event.listen(self._engine, "connect", _use_wal)  # for a file that another program created
            event.listen(self._engine, "checkout", _require_same_file)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = self._engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read-only transaction.

        Raises:
            StorageUnavailableError: If the database cannot be reached, or a statement fails.
        """
        with self._reporting_failures(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; SQLite runs one at a time, and the others wait.

        Raises:
            StorageUnavailableError: If the database cannot be reached, or a statement fails.
        """
        with self._reporting_failures(), self._writer.begin() as connection:
            yield connection

    def try_update(self, change: Update) -> None:
        """Execute an update that nothing depends on, so that a full disk locks nobody out."""
        try:
            with self.writing() as connection:
                connection.execute(change)
        except StorageUnavailableError as error:
            logger.warning("update skipped: %s", error, extra={"outage": error.service})

    def upgrade(self) -> None:
        """Upgrade the schema to this program's version; safe when several processes start at once.

        Raises:
            StorageUnavailableError: If the database cannot be reached.
            InputError: If a newer version of the program created the schema.
        """
        config = _migrations()
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
            self._schema(connection)
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")

    def require_schema(self) -> None:
        """Check that there is a schema of this program, and change nothing.

        Raises:
            StorageUnavailableError: If the database cannot be reached.
            InputError: If there is none, or a newer version of the program created it.
        """
        with self.reading() as connection:
            if not self._schema(connection):
                raise InputError(f"{self.name}: is not a database of this server; {CHECK_URL}")

    def _schema(self, connection: Connection) -> set[str]:
        """Return the revision of the schema, if there is any.

        Raises:
            InputError: If a newer version of the program created it.
        """
        known = {script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions()}
        found = set(MigrationContext.configure(connection).get_current_heads())
        if found - known:
            raise InputError(
                f"{self.name}: got schema {', '.join(found - known)}, expected one of {', '.join(sorted(known))}; "
                "use the newer program that created it, or another database"
            )
        return found

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _reporting_failures(self) -> Iterator[None]:
        """Turn a failure of the database into one line; errors about the data itself pass through."""
        try:
            yield
        except (DataError, IntegrityError):
            raise
        except DBAPIError as error:
            reason = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
            raise StorageUnavailableError(
                f"{self.name}: the database cannot be used ({reason[0]}); check its URL and that it is running"
            ) from error


def _migrations() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", "fashion.server.storage:migrations")
    return config


def _parse(url: str) -> URL:
    """Parse a database URL; no error message shows a password that it contains."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(f"database_url: is not a URL, {EXPECTED}") from None
    if address.drivername in {"sqlite", "sqlite+pysqlite"}:
        if address.database in {None, "", ":memory:"} or address.query:
            raise InputError(f"database_url: {address.render_as_string()} names no file, {EXPECTED}")
        return address
    if address.drivername in {"postgresql", "postgresql+psycopg"}:
        timeouts = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": TCP_TIMEOUT_MILLISECONDS}
        return address.update_query_dict({**timeouts, **address.query})
    raise InputError(f"database_url: got {address.drivername}, {EXPECTED}")


def _create_sqlite_file(path: Path) -> None:
    """Create an empty database in WAL mode, unless the file exists.

    It is created under a temporary name and linked into place atomically: processes that start at once and find a
    database that is not yet in WAL mode would lock each other out while switching it.
    """
    try:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            new = Path(folder) / path.name
            new.touch(mode=0o600)
            with contextlib.closing(sqlite3.connect(new)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.link(new, path)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: the database cannot be created ({reason}); choose another path in server.database_url "
            "(of scripts/users.py: --database-url)"
        ) from None


def _require_sqlite_file(_: Dialect, __: object, arguments: list[str], ___: object) -> None:
    # SQLite would silently create an empty database in its place.
    if not os.path.exists(arguments[0]):
        raise sqlite3.OperationalError("the file is gone or cannot be reached")


def _require_same_file(connection: sqlite3.Connection, record: ConnectionPoolEntry, _: object) -> None:
    """Discard a connection whose file was deleted or replaced: no other process would see its data."""
    path, opened = record.info["file"]
    if _identity(path) != opened:
        raise DisconnectionError("the file was replaced")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:  # gone, or not to be reached: so is the file that was opened
        return None
    return status.st_dev, status.st_ino


def _configure_sqlite(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = path, _identity(path)
    connection.isolation_level = None  # _begin_sqlite begins transactions, instead of the driver at the first change
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA journal_mode = WAL")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once, without waiting, if another wrote in between.
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
