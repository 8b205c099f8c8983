"""People who signed in on the page: a cookie, the session in the database that it stands for, and forms tied to it."""

import datetime
import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import Flask, Response, abort, current_app, g, redirect, request, url_for
from sqlalchemy import bindparam, delete, insert, select, update
from werkzeug.exceptions import Forbidden

from fashion.errors import StorageUnavailableError
from fashion.server.security.headers import SAFE_METHODS
from fashion.server.storage.accounts import ACCOUNT_COLUMNS, Account
from fashion.server.storage.database import AccountRow, Database, SessionRow

P = ParamSpec("P")
R = TypeVar("R")

# A session ends after so long without a request, and after so long in any case.
IDLE = datetime.timedelta(hours=12)
LONGEST = datetime.timedelta(days=7)
LAST_USED_STEP = datetime.timedelta(minutes=1)  # a write per request would cost more than it tells
COOKIE_BYTES = 32
FIELD, HEADER = "csrf", "X-CSRF-Token"
STALE_FORM = "This form is not from here, or no longer valid: load the page again, then repeat it."

SESSION_LOOKUP = (
    select(*ACCOUNT_COLUMNS, SessionRow.created.label("begun"), SessionRow.last_used)
    .join(SessionRow, SessionRow.account == AccountRow.name)
    .where(SessionRow.sha256 == bindparam("sha256"))
)


class Sessions:
    """The sessions in a database. Processes and machines that share it share them.

    A session is known by 256 random bits, of which only the digest is kept. Every operation raises
    StorageUnavailableError when the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, name: str) -> str:
        """Begin a session of an account, and forget those of all accounts that are past their time.

        Returns:
            What the cookie has to hold.
        """
        secret = secrets.token_urlsafe(COOKIE_BYTES)
        now = _now()
        past = (SessionRow.created <= now - LONGEST) | (SessionRow.last_used <= now - IDLE)
        with self._database.writing() as connection:
            connection.execute(delete(SessionRow).where(past))
            values = {"sha256": _sha256(secret), "account": name, "created": now, "last_used": now}
            connection.execute(insert(SessionRow).values(values))
        return secret

    def find(self, secret: str) -> Account | None:
        """Return the account whose session a cookie stands for; none when it is unknown, ended or past its time."""
        digest, now = _sha256(secret), _now()
        with self._database.reading() as connection:
            row = connection.execute(SESSION_LOOKUP, {"sha256": digest}).one_or_none()
        if row is None or row.begun <= now - LONGEST or row.last_used <= now - IDLE:
            return None
        if row.last_used <= now - LAST_USED_STEP:
            with self._database.writing() as connection:
                connection.execute(update(SessionRow).where(SessionRow.sha256 == digest).values(last_used=now))
        return Account(row.name, row.role, row.created)

    def end(self, secret: str) -> None:
        """End a session; the cookie is worthless from now on, wherever a copy of it is."""
        with self._database.writing() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.sha256 == _sha256(secret)))


def init_app(app: Flask, sessions: Sessions) -> None:
    """Know who is signed in, in views and in templates."""
    app.extensions["sessions"] = sessions
    app.after_request(_send_cookie)
    app.context_processor(lambda: {"account": _visitor(), "csrf_token": csrf_token})


def current() -> Account | None:
    """Return the account that is signed in where the current request comes from."""
    if "session_account" not in g:
        secret = _secret()
        g.session_account = None if secret is None else _sessions().find(secret)
    return g.session_account


def sign_in(account: Account) -> None:
    """Begin a session, with a cookie that nobody has seen before."""
    sign_out()
    g.session_cookie = _sessions().begin(account.name)
    g.session_account = account


def sign_out() -> None:
    """End the session of the current request, if there is one."""
    secret = _secret()
    if secret is not None:
        _sessions().end(secret)
    g.session_cookie = g.session_account = None


def csrf_token() -> str:
    """Return what a form of this page has to bring along; a visitor without a cookie is given one to tie it to.

    What another site makes a browser send comes without the cookie: the answer to that must not bring a new one, which
    would sign out who is signed in.
    """
    secret = _secret()
    if secret is None and request.method not in SAFE_METHODS:
        return ""
    if secret is None:
        secret = g.session_cookie = secrets.token_urlsafe(COOKIE_BYTES)
    return _csrf_token(secret)


def check_form() -> None:
    """Refuse what was not sent by a page of this server, in the browser it was made for.

    Raises:
        Forbidden: When the token is missing or another's.
    """
    secret = request.cookies.get(_cookie_name())
    sent = request.headers.get(HEADER) or request.form.get(FIELD, "")
    if secret is None or not hmac.compare_digest(sent.encode(), _csrf_token(secret).encode()):
        raise Forbidden(STALE_FORM)


def identify() -> Account | None:
    """Return who is signed in, for a request that is allowed to act for them.

    Raises:
        Forbidden: When it changes something, and no form of this page sent it.
    """
    account = current()
    if account is not None:
        if request.method not in SAFE_METHODS:
            check_form()
        g.account = account.name
    return account


def sign_in_required(view: Callable[P, R]) -> Callable[P, R]:
    """Let only people who are signed in use a view; the others are asked to, and come back."""

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if identify() is None:
            back = request.full_path.rstrip("?") if request.method in SAFE_METHODS else url_for("web.index")
            abort(redirect(url_for("login.show", next=back), 303))
        return view(*args, **kwargs)

    return guarded


def _visitor() -> Account | None:
    """Return who is signed in, for the head of a page; the page that tells of a failing database needs nobody."""
    try:
        return current()
    except StorageUnavailableError:
        g.session_account = None
        return None


def _send_cookie(response: Response) -> Response:
    if "session_cookie" not in g:
        return response
    options: dict[str, Any] = {"httponly": True, "samesite": "Lax", "secure": request.is_secure, "path": "/"}
    if g.session_cookie is None:
        response.delete_cookie(_cookie_name(), **options)
    else:
        response.set_cookie(_cookie_name(), g.session_cookie, **options)
    return response


def _secret() -> str | None:
    return g.session_cookie if "session_cookie" in g else request.cookies.get(_cookie_name())


def _cookie_name() -> str:
    # The prefix forbids other hosts of the same domain to set one; browsers take it over TLS alone.
    return "__Host-fashion" if request.is_secure else "fashion"


def _csrf_token(secret: str) -> str:
    return hmac.digest(secret.encode(), b"form", "sha256").hex()


def _sessions() -> Sessions:
    return current_app.extensions["sessions"]


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
