"""Protection against cross-site request forgery (CSRF) by Fetch Metadata and Origin, without tokens in forms.

Browsers attach a user's credentials to requests by themselves: the session cookie, and a Basic password that was typed
in before. A page of another site could therefore send requests in a user's name, or sign the user in to the attacker's
account (login CSRF). Two headers say which site sent a request, and no page can forge them. Every request that may
change something is checked, as OWASP's cheat sheet recommends for Fetch Metadata with the fallback to Origin:

1. ``Sec-Fetch-Site`` must be ``same-origin``, or ``none`` for a user's own navigation. All browsers since March 2023
   send it, but only over TLS and to localhost.
2. Without it, ``Origin`` must be this server's. This covers older browsers, and every browser over plain HTTP; all have
   sent it with POST since 2020. It is ``null`` for sandboxed frames and for pages that hide their referrer; ``null`` is
   refused, so this server's own pages must not hide theirs from it (see ``Referrer-Policy`` in headers.py).
3. Without either, the client is a program such as curl, or a browser from before 2020. The request is refused if it
   carries a session cookie or would begin a session; otherwise its credentials, if any, are in its own Authorization
   header.

``same-site`` is refused as well: other hosts of the domain may belong to others. The session cookie is also
``SameSite=Lax``, so that most browsers do not even attach it to cross-site POSTs. A token in each form would add no
protection to this, but require a cookie for every visitor and a hidden field in every form.

https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from flask import Flask, request
from werkzeug.exceptions import Forbidden

from fashion.server.security.session import COOKIE_NAMES

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
CROSS_SITE = "Requests from other sites are not accepted."


def init_app(app: Flask) -> None:
    """Check every request of an application."""
    app.before_request(refuse_cross_site)


def refuse_cross_site() -> None:
    """Refuse a request that changes something, if another site may have made a browser send it.

    Raises:
        Forbidden: If it comes from another site, or carries a session cookie and does not say where it comes from.
    """
    if request.method in SAFE_METHODS:
        return
    same_origin = is_same_origin()
    if same_origin is False or (same_origin is None and not COOKIE_NAMES.isdisjoint(request.cookies)):
        raise Forbidden(CROSS_SITE)


def require_same_origin() -> None:
    """Refuse a request unless a browser says that a page of this server sent it.

    Raises:
        Forbidden: If no browser says so.
    """
    if not is_same_origin():
        raise Forbidden(CROSS_SITE)


def is_same_origin() -> bool | None:
    """Return whether a page of this server sent the current request; None if the request does not say."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    if origin is None:
        return None
    # Behind a proxy that ends TLS and is not a trusted one, HTTPS looks like plain HTTP.
    schemes = ("https",) if request.is_secure else ("https", "http")
    return origin in {f"{scheme}://{request.host}" for scheme in schemes}
