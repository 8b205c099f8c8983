"""Authentication of requests: HTTP Basic, a Bearer token, or the session cookie of somebody who signed in."""

import hmac
import secrets
import time
from typing import NamedTuple

from flask import g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from fashion.server.problems import wants_html
from fashion.server.security.address import names_loopback
from fashion.server.security.login_limits import LoginLimits
from fashion.server.security.session import SessionCookie
from fashion.server.service.monitoring import Metrics
from fashion.server.settings import is_loopback
from fashion.server.storage.accounts import DEFAULT_NAME, DEFAULT_PASSWORD, Account, Accounts

# How long an Authorization header is accepted without asking the database again, which took a third of the time of 32
# clients: five system calls, after each of which a thread waits for Python's lock. A revoked token is void a second
# later.
AUTH_CACHE_SECONDS = 1.0
MAX_CACHED_HEADERS = 1024

REALM = "Fashion server"  # with a space, so that Werkzeug quotes it: the standard demands quotes
CHALLENGES = (
    WWWAuthenticate("basic", {"realm": REALM, "charset": "UTF-8"}),
    WWWAuthenticate("bearer", {"realm": REALM}),
)
# For pages with a form to sign in: a Basic challenge would make the browser open its own dialog first.
PAGE_CHALLENGES = CHALLENGES[1:]
DEFAULT_IS_LOCAL = (
    f"{DEFAULT_NAME} / {DEFAULT_PASSWORD} works on the server's own machine only, at its loopback address or localhost."
)
PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
# One text for every reason, so that an unknown name looks like a wrong password.
REFUSED = "Send a valid user name and password (Basic), or a valid token (Bearer)."
SIGN_IN_FIRST = "Sign in first, then try again."


class AcceptedHeader(NamedTuple):
    """What an Authorization header was found to be.

    Attributes:
        until: The end of the time, on the monotonic clock, for which this holds.
        account: Whose it is.
        name: The name in it; None for a token.
        is_default: Whether it is the default name and password.
    """

    until: float
    account: Account
    name: str | None
    is_default: bool


class Authentication:
    """Authenticates requests, and limits how often that may fail.

    Args:
        accounts: The accounts.
        login_limits: Counts failures.
        session: The session of the current request.
        metrics: Counts failures, too.
    """

    def __init__(self, accounts: Accounts, login_limits: LoginLimits, session: SessionCookie, metrics: Metrics) -> None:
        self._accounts = accounts
        self._limits = login_limits
        self._session = session
        self._metrics = metrics
        # By a digest of the header, under a key that never leaves this process.
        self._cache: dict[bytes, AcceptedHeader] = {}
        self._key = secrets.token_bytes(32)

    def identify(self) -> Account:
        """Return the account of the current request's password, token or session.

        Raises:
            Unauthorized: If there is none, or it is wrong.
            Forbidden: If it is the default password, and not sent on this machine.
            TooManyRequests: If too many attempts have failed.
        """
        header = request.headers.get("Authorization")
        account = self.identify_session() if header is None else self._identify_header(header)
        if account is None:
            for_page = header is None and wants_html()
            raise Unauthorized(
                SIGN_IN_FIRST if for_page else REFUSED, www_authenticate=PAGE_CHALLENGES if for_page else CHALLENGES
            )
        return account

    def identify_session(self) -> Account | None:
        """Return the account that is signed in, if any, and note it for the log."""
        account = self._session.account()
        if account is not None:
            g.account = account.name
        return account

    def check_password(self, name: str, password: str) -> Account | None:
        """Return the account of a name and password from the page's form, or None if they are wrong.

        Raises:
            Forbidden: If it is the default password, and not sent on this machine.
            TooManyRequests: If too many attempts have failed.
        """
        if _is_default(name, password):
            _require_local_request()
        return self._noted(self._by_password(request.remote_addr or "", name, password))

    def _identify_header(self, header: str) -> Account | None:
        if not header.isascii():  # Werkzeug fails to parse other text
            return None
        address = request.remote_addr or ""
        digest = hmac.digest(self._key, header.encode(), "sha256")
        cached = self._cache.get(digest)
        if cached is not None and time.monotonic() < cached.until:
            if cached.is_default:
                _require_local_request()
            with self._limits.attempt(address, cached.name) as attempt:
                attempt.succeeded = True
            return self._noted(cached.account)
        sent = request.authorization
        is_default = sent is not None and _is_default(sent.username, sent.password)
        if is_default:
            _require_local_request()
        name = sent.username if sent is not None and sent.type == "basic" else None
        if sent is not None and name is not None:
            account = self._by_password(address, name, sent.password or "")
        elif sent is not None and sent.type == "bearer" and sent.token:
            account = self._by_token(address, sent.token)
        else:  # nothing that could be a guess, so that neither the limits nor the request log count it
            return None
        if account is not None:
            if len(self._cache) >= MAX_CACHED_HEADERS:
                self._cache.clear()
            self._cache[digest] = AcceptedHeader(time.monotonic() + AUTH_CACHE_SECONDS, account, name, is_default)
        return self._noted(account)

    def _by_password(self, address: str, name: str, password: str) -> Account | None:
        with self._limits.attempt(address, name) as attempt:
            account = self._accounts.verify_cached(name, password)
            if account is None:
                attempt.take_turn()
                account = self._accounts.verify(name, password)
            attempt.succeeded = account is not None
        return account

    def _by_token(self, address: str, token: str) -> Account | None:
        with self._limits.attempt(address) as attempt:
            account = self._accounts.verify_token(token)
            if account is None:
                attempt.take_turn()
            attempt.succeeded = account is not None
        return account

    def _noted(self, account: Account | None) -> Account | None:
        """Note for the log and the metrics who logged in, or that somebody failed to."""
        if account is None:
            self._metrics.login_failures.inc()
            g.login_failed = True
        else:
            g.account = account.name
        return account


def is_local_request() -> bool:
    """Return whether the current request is from this machine: to and from a loopback address, through no proxy.

    A page of another site may give its own name the loopback address (DNS rebinding). For the browser, this server is
    then part of that site, so the request has to be for a name of this machine. The name alone proves nothing, because
    a client may send any. A proxy counts, be it a trusted one or another on this machine.
    """
    forwarded = any(name in request.headers for name in PROXY_HEADERS)
    return not forwarded and is_loopback(request.remote_addr or "") and names_loopback(request.host)


def _is_default(name: str | None, password: str | None) -> bool:
    return (name, password) == (DEFAULT_NAME, DEFAULT_PASSWORD)


def _require_local_request() -> None:
    """Refuse the default password, valid or not, unless it is sent on this machine."""
    if not is_local_request():
        raise Forbidden(DEFAULT_IS_LOCAL)
