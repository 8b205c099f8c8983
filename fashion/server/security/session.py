"""The session cookie of people who signed in on the page."""

from typing import Any, cast

from flask import Flask, Response, g, request

from fashion.errors import StorageUnavailableError
from fashion.server.storage.accounts import Account
from fashion.server.storage.sessions import Sessions

# Browsers accept the prefixes over TLS only. The first forbids other hosts of the same domain to set the cookie, but it
# demands the path /, which a server on a sub-path shares with others.
COOKIE_NAME, SECURE_COOKIE_NAME, SUB_PATH_COOKIE_NAME = "fashion", "__Host-fashion", "__Secure-fashion"
COOKIE_NAMES = frozenset({COOKIE_NAME, SECURE_COOKIE_NAME, SUB_PATH_COOKIE_NAME})


class SessionCookie:
    """Finds, begins and ends the session of the current request.

    Args:
        sessions: The sessions in the database.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def init_app(self, app: Flask) -> None:
        """Send the cookie with responses, and pass the ``account`` to templates."""
        app.after_request(self._send)
        app.context_processor(lambda: {"account": self._account_for_templates()})

    def account(self) -> Account | None:
        """Return the account that is signed in, if any."""
        if "session_account" not in g:
            secret = self._secret()
            g.session_account = None if secret is None else self._sessions.find(secret)
        return cast(Account | None, g.session_account)

    def sign_in(self, account: Account) -> bool:
        """End the present session, and begin one with a new cookie.

        Returns:
            Whether it began; not if the account was removed meanwhile.
        """
        self.sign_out()
        g.session_cookie = self._sessions.begin(account.name)
        g.session_account = None if g.session_cookie is None else account
        return g.session_account is not None

    def sign_out(self) -> None:
        """End the session of the current request, if any."""
        secret = self._secret()
        if secret is not None:
            self._sessions.end(secret)
        g.session_cookie = g.session_account = None

    def _account_for_templates(self) -> Account | None:
        """Return the account for the head of a page, which is shown even while the database is unavailable."""
        try:
            return self.account()
        except StorageUnavailableError:
            g.session_account = None
            return None

    def _send(self, response: Response) -> Response:
        if "session_cookie" not in g:
            return response
        path = request.root_path or "/"
        options: dict[str, Any] = {"httponly": True, "samesite": "Lax", "secure": request.is_secure, "path": path}
        if g.session_cookie is None:
            response.delete_cookie(_cookie_name(), **options)
        else:
            response.set_cookie(_cookie_name(), g.session_cookie, **options)
        return response

    def _secret(self) -> str | None:
        return g.session_cookie if "session_cookie" in g else request.cookies.get(_cookie_name())


def _cookie_name() -> str:
    if not request.is_secure:
        return COOKIE_NAME
    return SUB_PATH_COOKIE_NAME if request.root_path else SECURE_COOKIE_NAME
