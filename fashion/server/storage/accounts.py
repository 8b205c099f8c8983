"""Accounts with passwords, and access tokens for their programs."""

import datetime
import hashlib
import hmac
import re
import secrets
import threading
from typing import Literal, NamedTuple, get_args

import argon2
from sqlalchemy import Row, bindparam, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from fashion.errors import InputError
from fashion.server.storage.database import Database
from fashion.server.storage.tables import AccountRow, SessionRow, TokenRow, utc_now

Role = Literal["user", "admin"]

# The baseline program's credentials; the server accepts them from its own machine only.
DEFAULT_NAME, DEFAULT_PASSWORD = "admin", "password"

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
MIN_PASSWORD_CHARACTERS, MAX_PASSWORD_BYTES = 8, 1024
MAX_LABEL_CHARACTERS = 64
MAX_EXPIRY_DAYS = 3650

TOKEN_PREFIX = "fsh_"  # lets secret scanners recognise a leaked token
TOKEN_BYTES = 32
LAST_USED_INTERVAL = datetime.timedelta(minutes=1)  # a database write for every request would be too expensive

# Argon2id with the library's defaults, the second recommended option of RFC 9106: 3 passes over 64 MiB in 4 lanes.
HASHER = argon2.PasswordHasher()
MAX_CONCURRENT_HASHES = 2  # each takes 64 MiB; the others wait
MAX_CACHED_PASSWORDS = 1024

ACCOUNT_COLUMNS = (AccountRow.name, AccountRow.role, AccountRow.created)
TOKEN_COLUMNS = (
    TokenRow.id,
    TokenRow.account,
    TokenRow.label,
    TokenRow.created,
    TokenRow.expires,
    TokenRow.last_used,
)
# Built once: building a statement takes longer than executing it.
ACCOUNT_LOOKUP = select(*ACCOUNT_COLUMNS, AccountRow.password_hash).where(AccountRow.name == bindparam("name"))
TOKEN_LOOKUP = (
    select(*ACCOUNT_COLUMNS, TokenRow.id, TokenRow.expires, TokenRow.last_used)
    .join(TokenRow, TokenRow.account == AccountRow.name)
    .where(TokenRow.sha256 == bindparam("sha256"))
)


class Account(NamedTuple):
    """A person or program that may ask for predictions; the role ``admin`` also opens the admin page."""

    name: str
    role: str
    created: datetime.datetime


class Token(NamedTuple):
    """A token's description; the token itself was shown once and is not stored."""

    id: int
    account: str
    label: str
    created: datetime.datetime
    expires: datetime.datetime | None
    last_used: datetime.datetime | None

    @property
    def expired(self) -> bool:
        """Whether the token is no longer valid."""
        return self.expires is not None and self.expires <= utc_now()


class Accounts:
    """The accounts in a database. Threads may share an instance; processes may not.

    Every method raises StorageUnavailableError if the database cannot be used.

    Args:
        database_url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST:PORT/NAME``.
        create: Whether to create a missing SQLite file.
    """

    def __init__(self, database_url: str, *, create: bool = True) -> None:
        self.database = Database(database_url, create=create)
        self._hashing = threading.BoundedSemaphore(MAX_CONCURRENT_HASHES)
        # Correct passwords are cached, so that each is hashed once. An entry is a digest under a key that never leaves
        # this process, and covers the stored hash: after a change of password the old one no longer matches.
        self.verified_passwords: set[bytes] = set()
        self._key = secrets.token_bytes(32)
        # Verified against for an unknown name, so that it takes as long as a known one.
        self._dummy_hash = HASHER.hash(secrets.token_urlsafe())

    def check(self) -> None:
        """Raise StorageUnavailableError unless accounts can be read."""
        with self.database.reading() as connection:
            connection.execute(select(AccountRow.name).limit(1))

    def upgrade(self) -> None:
        """Upgrade the database's schema to this program's version; safe when several processes start at once."""
        self.database.upgrade()

    def add(self, name: str, password: str, role: Role = "user") -> None:
        """Create an account.

        Raises:
            InputError: If the name, password or role is not allowed, or the name is taken.
        """
        if not NAME_PATTERN.fullmatch(name):
            raise InputError(
                f"account name: got {name!r}, expected 1 to 64 of the letters a-z and A-Z, digits and . _ @ + -, "
                "the first a letter or a digit"
            )
        if role not in get_args(Role):
            raise InputError(f"role: got {role}, expected one of {', '.join(get_args(Role))}")
        check_password(password, name)
        if not self._insert(name, self._hash(password), role):
            raise InputError(f"account {name}: exists already; choose another name, or change its password")

    def create_default(self) -> None:
        """Create the baseline program's account, admin / password, unless the database has any account."""
        if not self.all():
            self._insert(DEFAULT_NAME, self._hash(DEFAULT_PASSWORD), "admin")

    def create_first(self, password: str) -> bool:
        """Create the account ``admin`` with a password of its own, unless the database has any account.

        Returns:
            Whether it was created.

        Raises:
            InputError: If the password is not allowed.
        """
        check_password(password, DEFAULT_NAME)
        return not self.all() and self._insert(DEFAULT_NAME, self._hash(password), "admin")

    def has_default_account(self) -> bool:
        """Return whether admin / password is a valid log-in."""
        return self.verify(DEFAULT_NAME, DEFAULT_PASSWORD) is not None

    def set_password(self, name: str, password: str) -> int:
        """Change an account's password and end its browser sessions.

        Returns:
            The number of the account's tokens, which stay valid.

        Raises:
            InputError: If the account does not exist, or the password is not allowed.
        """
        check_password(password, name)
        hashed = self._hash(password)
        with self.database.writing() as connection:
            statement = update(AccountRow).where(AccountRow.name == name).values(password_hash=hashed)
            if not connection.execute(statement).rowcount:
                raise _no_account(name)
            connection.execute(delete(SessionRow).where(SessionRow.account == name))
        return sum(not token.expired for token in self.tokens(name))

    def remove(self, name: str) -> int:
        """Remove an account with its tokens, sessions, predictions and images.

        Returns:
            The number of removed tokens.

        Raises:
            InputError: If the account does not exist, or is the last admin.
        """
        with self.database.writing() as connection:
            # Locked, so that two admins who remove each other at the same time cannot both succeed.
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
        """Return all accounts, sorted by name."""
        with self.database.reading() as connection:
            rows = connection.execute(select(*ACCOUNT_COLUMNS).order_by(AccountRow.name))
            return [Account(*row) for row in rows]

    def verify(self, name: str, password: str) -> Account | None:
        """Return the account if the password is correct, else None.

        A wrong password and an unknown name take the same time.
        """
        row = self._row(name)
        stored = self._dummy_hash if row is None else row.password_hash
        if not self._matches(stored, password) or row is None:
            return None
        if HASHER.check_needs_rehash(stored):  # the library's defaults have changed since
            same = (AccountRow.name == name) & (AccountRow.password_hash == stored)
            self.database.try_update(update(AccountRow).where(same).values(password_hash=self._hash(password)))
        return Account(row.name, row.role, row.created)

    def verify_cached(self, name: str, password: str) -> Account | None:
        """Return the account if ``verify`` has accepted this password before; never hashes."""
        row = self._row(name)
        if row is None or self._cache_key(row.password_hash, password) not in self.verified_passwords:
            return None
        return Account(row.name, row.role, row.created)

    def create_token(self, name: str, label: str, expires_days: int | None = None) -> str:
        """Create a token that authenticates an account.

        Args:
            name: The account.
            label: What the token is for, shown in the list.
            expires_days: Days until it expires; None for no expiry.

        Returns:
            The token, which cannot be retrieved again: only its digest is stored. It has 256 random bits, so a fast
            digest without salt is safe.

        Raises:
            InputError: If the account does not exist, or the label or the number of days is not allowed.
        """
        if len(label) > MAX_LABEL_CHARACTERS or not label.isprintable():
            raise InputError(f"label: got {label!r}, expected at most {MAX_LABEL_CHARACTERS} printable characters")
        if expires_days is not None and not 1 <= expires_days <= MAX_EXPIRY_DAYS:
            raise InputError(f"days until the token expires: got {expires_days}, expected 1 to {MAX_EXPIRY_DAYS}")
        token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        created = utc_now()
        values = {
            "account": name,
            "label": label,
            "sha256": secret_digest(token),
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
        """Return the account of a token, or None if the token is unknown, revoked or expired."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        now = utc_now()
        with self.database.reading() as connection:
            row = connection.execute(TOKEN_LOOKUP, {"sha256": secret_digest(token)}).one_or_none()
        if row is None or (row.expires is not None and row.expires <= now):
            return None
        if row.last_used is None or row.last_used <= now - LAST_USED_INTERVAL:
            self.database.try_update(update(TokenRow).where(TokenRow.id == row.id).values(last_used=now))
        return Account(row.name, row.role, row.created)

    def revoke_token(self, token_id: int) -> None:
        """Delete a token.

        Raises:
            InputError: If there is no such token.
        """
        with self.database.writing() as connection:
            if not connection.execute(delete(TokenRow).where(TokenRow.id == token_id)).rowcount:
                raise InputError(f"token {token_id}: does not exist; see the list of tokens")

    def tokens(self, name: str | None = None) -> list[Token]:
        """Return the tokens of one account or of all, expired ones too.

        Raises:
            InputError: If the account does not exist.
        """
        statement = select(*TOKEN_COLUMNS).order_by(TokenRow.id)
        with self.database.reading() as connection:
            if name is not None:
                if not connection.scalar(select(exists().where(AccountRow.name == name))):
                    raise _no_account(name)
                statement = statement.where(TokenRow.account == name)
            return [Token(*row) for row in connection.execute(statement)]

    def _insert(self, name: str, password_hash: str, role: Role) -> bool:
        """Insert an account; return False if the name is taken, even by a concurrent insert."""
        values = {"name": name, "role": role, "password_hash": password_hash, "created": utc_now()}
        try:
            with self.database.writing() as connection:
                connection.execute(insert(AccountRow).values(values))
        except IntegrityError:
            return False
        return True

    def _row(self, name: str) -> Row[str, str, datetime.datetime, str] | None:
        if not NAME_PATTERN.fullmatch(name):  # cannot exist, and PostgreSQL rejects some such text
            return None
        with self.database.reading() as connection:
            return connection.execute(ACCOUNT_LOOKUP, {"name": name}).one_or_none()

    def _cache_key(self, stored: str, password: str) -> bytes:
        return hmac.digest(self._key, stored.encode() + password.encode(errors="surrogatepass"), "sha256")

    def _hash(self, password: str) -> str:
        with self._hashing:
            return HASHER.hash(password)

    def _matches(self, stored: str, password: str) -> bool:
        key = self._cache_key(stored, password)
        if key in self.verified_passwords:
            return True
        with self._hashing:
            if key in self.verified_passwords:  # verified by another thread while this one waited
                return True
            try:
                HASHER.verify(stored, password.encode(errors="surrogatepass"))
            except argon2.exceptions.VerifyMismatchError:
                return False
            if len(self.verified_passwords) >= MAX_CACHED_PASSWORDS:
                self.verified_passwords.clear()
            self.verified_passwords.add(key)
        return True


def secret_digest(secret: str) -> str:
    """Return the SHA-256 under which a token or a session's secret is stored."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def check_password(password: str, name: str) -> None:
    """Refuse a password that an account must not have.

    Raises:
        InputError: If it is too short, too long, not text in UTF-8, or easy to guess.
    """
    try:
        length = len(password.encode())
    except UnicodeEncodeError:
        raise InputError("password: is not text in UTF-8; check the encoding of the terminal or file") from None
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise InputError(f"password: got {len(password)} characters, expected at least {MIN_PASSWORD_CHARACTERS}")
    if length > MAX_PASSWORD_BYTES:
        raise InputError(f"password: got {length} bytes, expected at most {MAX_PASSWORD_BYTES}")
    if password in {DEFAULT_PASSWORD, name}:
        raise InputError("password: is too easy to guess; choose another")


def _no_account(name: str) -> InputError:
    return InputError(f"account {name}: does not exist; names are case-sensitive")
