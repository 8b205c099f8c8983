"""Who asks: HTTP Basic, Bearer or a session, with failed log-ins limited before any password is hashed."""

import functools
import hashlib
import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import limits
from flask import Flask, Response, current_app, g, request
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, ServiceUnavailable, TooManyRequests, Unauthorized

from fashion.errors import InputError
from fashion.server.problems import answer, wants_html
from fashion.server.security import session
from fashion.server.service.monitoring import Metrics
from fashion.server.storage.accounts import DEFAULT_NAME, DEFAULT_PASSWORD, Account, Accounts

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
# How many failures, and what they are counted under.
Budget = tuple[limits.RateLimitItem, tuple[str, ...]]

# Failures within five minutes: per address, whatever it tries; per account, wherever the attempts come from.
PER_ADDRESS, PER_ACCOUNT = limits.parse("20 per 5 minutes"), limits.parse("20 per 5 minutes")
# An account at an address where it logged in before has a budget of its own, which nobody elsewhere can use up.
PER_KNOWN_PLACE = limits.parse("20 per 5 minutes")
# How long an account is believed without a look into the database, which took a third of the time of 32 clients: five
# system calls, after each of which a thread waits for Python's lock. What is revoked is void a second later.
BELIEVED_SECONDS = 1.0
MOST_BELIEVED = 1024
KNOWN_FOR_SECONDS = 30 * 24 * 3600
REDIS_TIMEOUT_SECONDS = 2

REALM = "Fashion server"  # with a space: it must be quoted, and Werkzeug quotes only where it has to
CHALLENGES = (
    WWWAuthenticate("basic", {"realm": REALM, "charset": "UTF-8"}),
    WWWAuthenticate("bearer", {"realm": REALM}),
)
# For a page with a form to sign in: at Basic, browsers open a window of their own before they show it.
PAGE_CHALLENGES = CHALLENGES[1:]
# One text for every reason, so that an unknown name looks like a wrong password.
DEFAULT_IS_LOCAL = f"{DEFAULT_NAME} / {DEFAULT_PASSWORD} is for the server's own machine alone."
PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For")
REFUSED = "Send a user name and password (Basic), or a token (Bearer), that this server knows."
SIGN_IN_FIRST = "Sign in first, then do this again."


class LoginLimits:
    """Counts failed log-ins.

    Args:
        redis_url: Where several processes count together; None counts in this process.

    Raises:
        InputError: When Redis does not answer.
    """

    def __init__(self, redis_url: str | None) -> None:
        options = {"socket_timeout": REDIS_TIMEOUT_SECONDS, "socket_connect_timeout": REDIS_TIMEOUT_SECONDS}
        try:
            self._storage: Any = storage_from_string(
                redis_url or "memory://", wrap_exceptions=True, **(options if redis_url else {})
            )
            usable = self._storage.check()
        except (limits.errors.ConfigurationError, ValueError):
            usable = False
        if not usable:
            raise InputError(
                "server.redis_url: no Redis answers there; start it, or give the address of one (redis://HOST:PORT/0)"
            )
        self._window = MovingWindowRateLimiter(self._storage)
        # What has to be hashed is taken one after the other for each name and each place: a hundred at once would all
        # see that nothing has failed yet.
        self._names, self._places = ([threading.Lock() for _ in range(64)] for _ in range(2))

    def attempt(
        self,
        recall: Callable[[], Account | None],
        verify: Callable[[], Account | None],
        address: str,
        name: str | None = None,
    ) -> Account | None:
        """Verify a log-in unless too many have failed lately.

        Args:
            recall: Looks the log-in up, quickly; None when it is wrong or has to be verified.
            verify: Looks it up with all the hashing that takes; None when it is wrong.
            address: Where it comes from.
            name: The account it names; None for a token, which names none.

        Raises:
            TooManyRequests: With the seconds until the next attempt is allowed; nothing was verified.
        """
        place = network(address)
        who = "" if name is None else hashlib.sha256(name.encode()).hexdigest()
        known = f"known/{who}/{place}"
        budgets: list[Budget] = [(PER_ADDRESS, ("address", place))]
        at_home = name is not None and self._storage.get(known) > 0
        if at_home:
            budgets = [(PER_KNOWN_PLACE, ("place", who, place))]
        elif name is not None:
            budgets.append((PER_ACCOUNT, ("account", who)))
        self._refuse_exhausted(budgets)
        account = recall()
        if account is None:
            with self._places[hash(place) % 64], self._names[hash(who) % 64]:
                self._refuse_exhausted(budgets)
                account = verify()
                if account is None:
                    for item, key in budgets:
                        self._window.hit(item, *key)
        if account is not None and name is not None and not at_home:
            self._storage.incr(known, KNOWN_FOR_SECONDS)
        return account

    def _refuse_exhausted(self, budgets: list[Budget]) -> None:
        waits = [
            self._window.get_window_stats(item, *key).reset_time - time.time()
            for item, key in budgets
            if not self._window.test(item, *key)
        ]
        if waits:
            raise TooManyRequests("Too many failed log-ins; wait.", retry_after=max(1, round(max(waits) + 0.5)))


class Authentication:
    """Knows who sends a request.

    Args:
        accounts: Who may.
        login_limits: How often it may be tried.
        metrics: Where failures are counted.
    """

    def __init__(self, accounts: Accounts, login_limits: LoginLimits, metrics: Metrics) -> None:
        self._accounts = accounts
        self._limits = login_limits
        self._metrics = metrics
        # By a digest of the header, under a key that lives in this process alone.
        self._believed: dict[bytes, tuple[float, Account]] = {}
        self._key = secrets.token_bytes(32)

    def identify(self) -> Account:
        """Return the account whose password or token the current request carries, or that is signed in on the page.

        Raises:
            Unauthorized: When there is none, or it is not right.
            Forbidden: When it is the default password, and a proxy sent it; or when a session comes without the token
                of a form.
            TooManyRequests: When too many were not right lately.
        """
        header = request.headers.get("Authorization")
        if header is None:
            signed_in = session.identify()
            if signed_in is None and wants_html():
                raise Unauthorized(SIGN_IN_FIRST, www_authenticate=PAGE_CHALLENGES)
            if signed_in is None:
                raise Unauthorized(REFUSED, www_authenticate=CHALLENGES)
            return signed_in
        if not header.isascii():  # Werkzeug's reading fails on other letters
            raise Unauthorized(REFUSED, www_authenticate=CHALLENGES)
        sent = request.authorization
        if sent:
            _refuse_default_from_afar(sent.username, sent.password)
        digest = hmac.digest(self._key, header.encode(), "sha256")
        until, believed = self._believed.get(digest, (0.0, None))
        if believed is not None and time.monotonic() < until:
            account: Account | None = self._limits.attempt(lambda: believed, lambda: believed, *self._origin())
        else:
            account = self._verified()
        if account is None:
            self._note_failure()
            raise Unauthorized(REFUSED, www_authenticate=CHALLENGES)
        if account is not believed:
            if len(self._believed) >= MOST_BELIEVED:
                self._believed.clear()
            self._believed[digest] = time.monotonic() + BELIEVED_SECONDS, account
        g.account = account.name
        return account

    def sign_in(self, name: str, password: str) -> Account | None:
        """Return the account of what somebody typed into the page's form; None when it is wrong.

        Raises:
            Forbidden: When it is the default password, and a proxy sent it.
            TooManyRequests: When too many were not right lately.
        """
        _refuse_default_from_afar(name, password)
        account = self._by_password(request.remote_addr or "", name, password)
        if account is None:
            self._note_failure()
        else:
            g.account = account.name
        return account

    def _note_failure(self) -> None:
        self._metrics.login_failures.inc()
        g.login_failed = True

    def _origin(self) -> tuple[str, str | None]:
        sent = request.authorization
        return request.remote_addr or "", sent.username if sent is not None and sent.type == "basic" else None

    def _verified(self) -> Account | None:
        sent = request.authorization
        address, name = self._origin()
        if sent is not None and name is not None:
            return self._by_password(address, name, sent.password or "")
        if sent is not None and sent.type == "bearer" and sent.token:
            token = sent.token
            return self._limits.attempt(lambda: self._accounts.verify_token(token), lambda: None, address)
        return None

    def _by_password(self, address: str, name: str, password: str) -> Account | None:
        return self._limits.attempt(
            lambda: self._accounts.recall(name, password),
            lambda: self._accounts.verify(name, password),
            address,
            name,
        )


def init_app(app: Flask, authentication: Authentication) -> None:
    """Let ``login_required`` find who knows the accounts."""
    app.extensions["authentication"] = authentication
    app.register_error_handler(StorageError, _no_counting)


def identify() -> Account:
    """Return the account that sends the current request; see ``Authentication.identify``."""
    return authentication().identify()


def authentication() -> Authentication:
    """Return what knows the accounts of the current application."""
    return current_app.extensions["authentication"]


def login_required(view: Callable[P, R]) -> Callable[P, R]:
    """Let only known accounts use a view."""

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        identify()
        return view(*args, **kwargs)

    return guarded


def passed_on() -> bool:
    """Return whether a proxy sent the current request, one that the settings know of or another on this machine."""
    return any(name in request.headers for name in PROXY_HEADERS)


def _refuse_default_from_afar(name: str | None, password: str | None) -> None:
    """Refuse the default password through a proxy, whether it is valid or not."""
    if (name, password) == (DEFAULT_NAME, DEFAULT_PASSWORD) and passed_on():
        raise Forbidden(DEFAULT_IS_LOCAL)


@functools.lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Return what counts as one address: an IPv6 user is given 2^64 of them, so there it is the /64 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    return address


def _no_counting(error: StorageError) -> Response:
    """Without the shared counts nobody is let in: guessing would be free."""
    log.error(
        "request %s: failed log-ins cannot be counted (%s); check Redis", g.get("request_id"), error.storage_error
    )
    return answer(ServiceUnavailable("Log-ins cannot be checked right now.", retry_after=5))
