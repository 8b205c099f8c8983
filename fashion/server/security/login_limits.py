"""Limits on failed log-ins, so that passwords and tokens cannot be guessed."""

import contextlib
import functools
import hashlib
import ipaddress
import threading
import time
from collections.abc import Iterator
from typing import Any

import limits
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter
from werkzeug.exceptions import TooManyRequests

from fashion.errors import InputError, StorageUnavailableError

# A limit on failures, and the key that they are counted under.
Budget = tuple[limits.RateLimitItem, tuple[str, ...]]

# Failures from one address, whatever it tries; and on one account, wherever they come from.
PER_ADDRESS, PER_ACCOUNT = limits.parse("20 per 5 minutes"), limits.parse("20 per 5 minutes")
# For an account at an address where it logged in before, a budget that nobody elsewhere can use up.
PER_KNOWN_ADDRESS = limits.parse("20 per 5 minutes")
KNOWN_SECONDS = 30 * 24 * 3600
REDIS_TIMEOUT_SECONDS = 2
LOCKS = 64


class LoginAttempt:
    """One log-in attempt; see ``LoginLimits.attempt``.

    Attributes:
        succeeded: To be set once the log-in is verified.
    """

    def __init__(self, limiter: "LoginLimits", budgets: list[Budget], locks: list[threading.Lock]) -> None:
        self.succeeded = False
        self._limiter = limiter
        self._budgets = budgets
        self._locks = locks
        self._held = contextlib.ExitStack()

    def take_turn(self) -> None:
        """Wait until no other attempt on this account or from this address is being verified; for expensive checks.

        Without it, a hundred attempts at once would all be verified before the first failure is counted.

        Raises:
            TooManyRequests: If too many of the others failed.
        """
        for lock in self._locks:
            self._held.enter_context(lock)
        self._limiter.refuse_exhausted(self._budgets)

    def end_turn(self) -> None:
        """Let the next attempt be verified."""
        self._held.close()


class LoginLimits:
    """Counts failed log-ins.

    Args:
        redis_url: Redis in which several processes count together; None counts in this process.
        must_answer: Whether to fail if Redis does not answer now.

    Raises:
        InputError: If Redis does not answer although it must, or the URL is not a Redis URL.
    """

    def __init__(self, redis_url: str | None, *, must_answer: bool = True) -> None:
        options = {"socket_timeout": REDIS_TIMEOUT_SECONDS, "socket_connect_timeout": REDIS_TIMEOUT_SECONDS}
        try:
            self._storage: Any = storage_from_string(
                redis_url or "memory://", wrap_exceptions=True, **(options if redis_url else {})
            )
            usable = not must_answer or self._storage.check()
        except (ConfigurationError, ValueError):
            usable = False
        if not usable:
            raise InputError(
                "server.redis_url: no Redis answers there; start it, or set the URL of one (redis://HOST:PORT/0)"
            )
        self._window = MovingWindowRateLimiter(self._storage)
        self._account_locks, self._address_locks = ([threading.Lock() for _ in range(LOCKS)] for _ in range(2))

    def check(self) -> None:
        """Raise StorageUnavailableError unless Redis answers."""
        if not self._storage.check():
            raise StorageUnavailableError("Redis does not answer", service="redis")

    @contextlib.contextmanager
    def attempt(self, address: str, name: str | None = None) -> Iterator[LoginAttempt]:
        """Let the block verify a log-in, unless too many have failed; count it when the block does not succeed.

        Args:
            address: The client's address.
            name: The account's name; None for a token.

        Raises:
            TooManyRequests: With the seconds until the next attempt is allowed; nothing was verified.
            StorageUnavailableError: If Redis cannot be used.
        """
        network = network_of(address)
        account = "" if name is None else hashlib.sha256(name.encode()).hexdigest()
        known_key = f"known/{account}/{network}"
        budgets: list[Budget] = [(PER_ADDRESS, ("address", network))]
        with _reporting_failures():
            known = name is not None and self._storage.get(known_key) > 0
            if known:
                budgets = [(PER_KNOWN_ADDRESS, ("place", account, network))]
            elif name is not None:
                budgets.append((PER_ACCOUNT, ("account", account)))
            self.refuse_exhausted(budgets)
            locks = [self._address_locks[hash(network) % LOCKS], self._account_locks[hash(account) % LOCKS]]
            attempt = LoginAttempt(self, budgets, locks)
            try:
                yield attempt
                if not attempt.succeeded:
                    for limit, key in budgets:
                        self._window.hit(limit, *key)
                elif name is not None and not known:
                    self._storage.incr(known_key, KNOWN_SECONDS)
            finally:
                attempt.end_turn()

    def refuse_exhausted(self, budgets: list[Budget]) -> None:
        """Refuse an attempt if one of its budgets is used up.

        Raises:
            TooManyRequests: With the seconds until the next attempt is allowed.
        """
        waits = [
            self._window.get_window_stats(limit, *key).reset_time - time.time()
            for limit, key in budgets
            if not self._window.test(limit, *key)
        ]
        if waits:
            raise TooManyRequests(
                "Too many failed log-ins; try again later.", retry_after=max(1, round(max(waits) + 0.5))
            )


@functools.lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return what counts as one address: of IPv6 the /64 network, because a user usually has 2^64 addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    return address


@contextlib.contextmanager
def _reporting_failures() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise StorageUnavailableError(
            f"failed log-ins cannot be counted, so nobody can log in ({error.storage_error}); check Redis",
            service="redis",
        ) from error
