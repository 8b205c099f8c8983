"""Browser sessions in the database, shared by all processes and machines that use it."""

import datetime
import secrets

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from fashion.server.storage.accounts import ACCOUNT_COLUMNS, Account, secret_digest
from fashion.server.storage.database import Database
from fashion.server.storage.tables import AccountRow, SessionRow, utc_now

# A session ends after IDLE_LIMIT without a request, and after AGE_LIMIT in any case.
IDLE_LIMIT = datetime.timedelta(hours=12)
AGE_LIMIT = datetime.timedelta(days=7)
LAST_USED_INTERVAL = datetime.timedelta(minutes=1)  # a database write for every request would be too expensive
SECRET_BYTES = 32

SESSION_LOOKUP = (
    select(*ACCOUNT_COLUMNS, SessionRow.created.label("begun"), SessionRow.last_used)
    .join(SessionRow, SessionRow.account == AccountRow.name)
    .where(SessionRow.sha256 == bindparam("sha256"))
)


class Sessions:
    """The sessions in a database.

    A session is identified by a random secret of 256 bits, of which only the digest is stored. Every method raises
    StorageUnavailableError if the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, name: str) -> str | None:
        """Begin a session of an account, and delete all expired sessions.

        Returns:
            The session's secret, for the cookie; None if the account was removed meanwhile.
        """
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now = utc_now()
        expired = (SessionRow.created <= now - AGE_LIMIT) | (SessionRow.last_used <= now - IDLE_LIMIT)
        values = {"sha256": secret_digest(secret), "account": name, "created": now, "last_used": now}
        try:
            with self._database.writing() as connection:
                connection.execute(delete(SessionRow).where(expired))
                connection.execute(insert(SessionRow).values(values))
        except IntegrityError:
            return None
        return secret

    def find(self, secret: str) -> Account | None:
        """Return the account of a session, or None if the session is unknown, ended or expired."""
        digest, now = secret_digest(secret), utc_now()
        with self._database.reading() as connection:
            row = connection.execute(SESSION_LOOKUP, {"sha256": digest}).one_or_none()
        if row is None or row.begun <= now - AGE_LIMIT or row.last_used <= now - IDLE_LIMIT:
            return None
        if row.last_used <= now - LAST_USED_INTERVAL:
            self._database.try_update(update(SessionRow).where(SessionRow.sha256 == digest).values(last_used=now))
        return Account(row.name, row.role, row.created)

    def end(self, secret: str) -> None:
        """End a session; every copy of its cookie becomes worthless."""
        with self._database.writing() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.sha256 == secret_digest(secret)))
