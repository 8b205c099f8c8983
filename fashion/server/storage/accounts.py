"""Who may use the server: accounts with passwords, and tokens for their programs."""

import datetime
import hashlib
import hmac
import logging
import re
import secrets
import threading
from typing import Any, Literal, NamedTuple, get_args

import argon2
from sqlalchemy import Update, bindparam, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from fashion.errors import InputError, StorageUnavailableError
from fashion.server.storage.database import AccountRow, Database, SessionRow, TokenRow

logger = logging.getLogger(__name__)

Role = Literal["user", "admin"]

# What the seed program used; the server takes it from its own machine alone.
DEFAULT_NAME, DEFAULT_PASSWORD = "admin", "password"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 1024
LONGEST_LABEL = 64
LONGEST_EXPIRY_DAYS = 3650

TOKEN_PREFIX = "fsh_"  # so that programs that look for leaked secrets can know one
TOKEN_BYTES = 32
LAST_USED_STEP = datetime.timedelta(minutes=1)  # a write per request would cost more than it tells

# Argon2id with the library's parameters, RFC 9106's second choice: 3 passes over 64 MiB in 4 lanes.
HASHER = argon2.PasswordHasher()
HASHES_AT_ONCE = 2  # each takes 64 MiB; the others wait
REMEMBERED_PASSWORDS = 1024

ACCOUNT_COLUMNS = (AccountRow.name, AccountRow.role, AccountRow.created)
TOKEN_COLUMNS = (
    TokenRow.id,
    TokenRow.account,
    TokenRow.label,
    TokenRow.created,
    TokenRow.expires,
    TokenRow.last_used,
)
# Made once: to put a statement together takes longer than to execute it.
ACCOUNT_LOOKUP = select(*ACCOUNT_COLUMNS, AccountRow.password_hash).where(AccountRow.name == bindparam("name"))
TOKEN_LOOKUP = (
    select(*ACCOUNT_COLUMNS, TokenRow.id, TokenRow.expires, TokenRow.last_used)
    .join(TokenRow, TokenRow.account == AccountRow.name)
    .where(TokenRow.sha256 == bindparam("sha256"))
)


class Account(NamedTuple):
    """Somebody who may ask for predictions; an ``admin`` may look after the server too."""

    name: str
    role: str
    created: datetime.datetime


class Token(NamedTuple):
    """What is known of a token; the token itself was shown once and is not kept."""

    id: int
    account: str
    label: str
    created: datetime.datetime
    expires: datetime.datetime | None
    last_used: datetime.datetime | None

    @property
    def expired(self) -> bool:
        """Whether it is past its time."""
        return self.expires is not None and self.expires <= _now()


class Accounts:
    """The accounts in a database, and what is done with them. Threads may share it; processes may not.

    Every operation raises StorageUnavailableError when the database cannot be used.

    Args:
        database_url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST:PORT/NAME``.
    """

    def __init__(self, database_url: str) -> None:
        self.database = Database(database_url)
        self._hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)
        # A password that was right is known again without hashing it. What is kept is a digest under a key that lives
        # in this process alone, and it covers the stored hash: after a change the old password is unknown at once.
        self._remembered: set[bytes] = set()
        self._key = secrets.token_bytes(32)
        # Verified for a name that is not there, so that it takes as long as one that is.
        self._nobodys_hash = HASHER.hash(secrets.token_urlsafe())

    def upgrade(self) -> None:
        """Bring the database to this program's schema; several processes may do so at once."""
        self.database.upgrade()

    def add(self, name: str, password: str, role: Role = "user") -> None:
        """Make an account.

        Raises:
            InputError: When the name or the password is not acceptable, or the name is taken.
        """
        if not NAME.fullmatch(name):
            raise InputError(
                f"account name: got {name!r}, expected 1 to 64 of the letters a-z and A-Z, digits and . _ @ + -, "
                "the first a letter or a digit"
            )
        if role not in get_args(Role):
            raise InputError(f"role: got {role}, expected one of {', '.join(get_args(Role))}")
        if not self._insert(name, self._hash(_acceptable(password, name)), role):
            raise InputError(f"account {name}: exists already; choose another name, or give it a new password")

    def create_default(self) -> None:
        """Make the seed program's account, admin / password, in a database that has none."""
        if not self.all():
            self._insert(DEFAULT_NAME, self._hash(DEFAULT_PASSWORD), "admin")

    def has_default_account(self) -> bool:
        """Tell whether admin / password still opens the door."""
        return self.verify(DEFAULT_NAME, DEFAULT_PASSWORD) is not None

    def set_password(self, name: str, password: str) -> int:
        """Give an account another password; who is signed in on the page has to sign in again.

        Returns:
            How many tokens of the account live on.

        Raises:
            InputError: When there is no such account, or the password is not acceptable.
        """
        hashed = self._hash(_acceptable(password, name))
        with self.database.writing() as connection:
            statement = update(AccountRow).where(AccountRow.name == name).values(password_hash=hashed)
            if not connection.execute(statement).rowcount:
                raise _no_account(name)
            connection.execute(delete(SessionRow).where(SessionRow.account == name))
        return sum(not token.expired for token in self.tokens(name))

    def remove(self, name: str) -> int:
        """Remove an account and all that is its own: tokens, sessions, answers and pictures.

        Returns:
            How many tokens went with it.

        Raises:
            InputError: When there is no such account, or it is the last admin.
        """
        with self.database.writing() as connection:
            # Locked, so that of two admins who remove each other one stays.
            admins = (
                select(AccountRow.name).where(AccountRow.role == "admin").order_by(AccountRow.name).with_for_update()
            )
            if connection.scalars(admins).all() == [name]:
                raise InputError(f"account {name}: is the last admin; add another admin first")
            tokens = connection.execute(delete(TokenRow).where(TokenRow.account == name)).rowcount
            if not connection.execute(delete(AccountRow).where(AccountRow.name == name)).rowcount:
                raise _no_account(name)
        return tokens

    def all(self) -> list[Account]:
        """Return the accounts by name."""
        with self.database.reading() as connection:
            rows = connection.execute(select(*ACCOUNT_COLUMNS).order_by(AccountRow.name))
            return [Account(*row) for row in rows]

    def verify(self, name: str, password: str) -> Account | None:
        """Return the account that a name and a password belong to.

        A wrong password and an unknown name take the same time.
        """
        row = self._row(name)
        stored = self._nobodys_hash if row is None else row.password_hash
        if not self._matches(stored, password) or row is None:
            return None
        if HASHER.check_needs_rehash(stored):  # made with the parameters of an older release of the library
            same = (AccountRow.name == name) & (AccountRow.password_hash == stored)
            self._note(update(AccountRow).where(same).values(password_hash=self._hash(password)))
        return Account(row.name, row.role, row.created)

    def recall(self, name: str, password: str) -> Account | None:
        """Return the account of a name and a password that `verify` found right before; this hashes nothing."""
        row = self._row(name)
        if row is None or self._digest(row.password_hash, password) not in self._remembered:
            return None
        return Account(row.name, row.role, row.created)

    def create_token(self, name: str, label: str, expires_days: int | None = None) -> str:
        """Make a token that stands for an account.

        Args:
            name: The account.
            label: What it is for, to know it again in a list.
            expires_days: How long it lives; None: until it is revoked.

        Returns:
            The token, which cannot be had again: only its digest is kept. It holds 256 random bits, so that a plain
            digest is safe to keep and to look up.

        Raises:
            InputError: When there is no such account, or the label or the days are not acceptable.
        """
        if len(label) > LONGEST_LABEL or not label.isprintable():
            raise InputError(f"label: got {label!r}, expected at most {LONGEST_LABEL} printable characters")
        if expires_days is not None and not 1 <= expires_days <= LONGEST_EXPIRY_DAYS:
            raise InputError(f"days until the token expires: got {expires_days}, expected 1 to {LONGEST_EXPIRY_DAYS}")
        token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        created = _now()
        values = {
            "account": name,
            "label": label,
            "sha256": _sha256(token),
            "created": created,
            "expires": expires_days and created + datetime.timedelta(days=expires_days),
        }
        try:
            with self.database.writing() as connection:
                connection.execute(insert(TokenRow).values(values))
        except IntegrityError:
            raise _no_account(name) from None
        return token

    def verify_token(self, token: str) -> Account | None:
        """Return the account that a token stands for; none when it is unknown, revoked or expired."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        now = _now()
        with self.database.reading() as connection:
            row = connection.execute(TOKEN_LOOKUP, {"sha256": _sha256(token)}).one_or_none()
        if row is None or (row.expires is not None and row.expires <= now):
            return None
        if row.last_used is None or row.last_used <= now - LAST_USED_STEP:
            self._note(update(TokenRow).where(TokenRow.id == row.id).values(last_used=now))
        return Account(row.name, row.role, row.created)

    def revoke_token(self, token_id: int) -> None:
        """Make a token worthless.

        Raises:
            InputError: When there is no such token.
        """
        with self.database.writing() as connection:
            if not connection.execute(delete(TokenRow).where(TokenRow.id == token_id)).rowcount:
                raise InputError(f"token {token_id}: there is none of this number; see the list of tokens")

    def tokens(self, name: str | None = None) -> list[Token]:
        """Return the tokens of one account or of all, expired ones too.

        Raises:
            InputError: When there is no such account.
        """
        statement = select(*TOKEN_COLUMNS).order_by(TokenRow.id)
        with self.database.reading() as connection:
            if name is not None:
                if not connection.scalar(select(exists().where(AccountRow.name == name))):
                    raise _no_account(name)
                statement = statement.where(TokenRow.account == name)
            return [Token(*row) for row in connection.execute(statement)]

    def _insert(self, name: str, password_hash: str, role: Role) -> bool:
        """Put an account into the database; False when the name is taken, also by one that comes at the same time."""
        values = {"name": name, "role": role, "password_hash": password_hash, "created": _now()}
        try:
            with self.database.writing() as connection:
                connection.execute(insert(AccountRow).values(values))
        except IntegrityError:
            return False
        return True

    def _note(self, change: Update) -> None:
        """Write what no log-in depends on: a full disk keeps nobody out."""
        try:
            with self.database.writing() as connection:
                connection.execute(change)
        except StorageUnavailableError as error:
            logger.warning("not noted: %s", error)

    def _row(self, name: str) -> Any:
        if not NAME.fullmatch(name):  # nothing else can be there, and PostgreSQL refuses some of it
            return None
        with self.database.reading() as connection:
            return connection.execute(ACCOUNT_LOOKUP, {"name": name}).one_or_none()

    def _digest(self, stored: str, password: str) -> bytes:
        return hmac.digest(self._key, stored.encode() + password.encode(errors="surrogatepass"), "sha256")

    def _hash(self, password: str) -> str:
        with self._hashing:
            return HASHER.hash(password)

    def _matches(self, stored: str, password: str) -> bool:
        remembered = self._digest(stored, password)
        if remembered in self._remembered:
            return True
        with self._hashing:
            if remembered in self._remembered:  # by one that came at the same time
                return True
            try:
                HASHER.verify(stored, password.encode(errors="surrogatepass"))
            except argon2.exceptions.VerifyMismatchError:
                return False
            if len(self._remembered) >= REMEMBERED_PASSWORDS:
                self._remembered.clear()
            self._remembered.add(remembered)
        return True


def _acceptable(password: str, name: str) -> str:
    """Return a password as it is, when it may be one."""
    try:
        length = len(password.encode())
    except UnicodeEncodeError:
        raise InputError("password: is not text in UTF-8; check the terminal's or the file's encoding") from None
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(f"password: got {len(password)} characters, expected at least {SHORTEST_PASSWORD}")
    if length > LONGEST_PASSWORD:
        raise InputError(f"password: got {length} bytes, expected at most {LONGEST_PASSWORD}")
    if password in {DEFAULT_PASSWORD, name}:
        raise InputError("password: this one is tried first by everybody; choose another")
    return password


def _no_account(name: str) -> InputError:
    return InputError(f"account {name}: there is none of this name; names are case-sensitive")


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
