"""What every answer carries, and which requests are refused before anything is read of them."""

from flask import Flask, Response, request
from werkzeug.exceptions import Forbidden

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

# Scripts, styles and the forms' targets are this server's own files, and no text can become HTML or a script. Pictures
# are shown from data URLs, and by the script from the files that somebody chose.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HSTS = "max-age=31536000; includeSubDomains"


def init_app(app: Flask) -> None:
    """Refuse requests that another site's page sent, notice cut bodies, and put the headers on every answer."""
    app.before_request(expect_whole_body)
    app.before_request(refuse_cross_site)
    app.after_request(add_headers)


def expect_whole_body() -> None:
    """Let Werkzeug notice that a body is shorter than its Content-Length: it trusts gunicorn, which does not check."""
    if request.content_length is not None:
        request.environ.pop("wsgi.input_terminated", None)


def refuse_cross_site() -> None:
    """Refuse what a page of another site makes a browser send: browsers add the Basic password by themselves.

    Browsers of before 2023 send no ``Sec-Fetch-Site`` but an ``Origin``; other clients send neither.

    Raises:
        Forbidden: When the request changes something and comes from another origin.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        foreign = site not in {"same-origin", "none"}
    else:
        origin = request.headers.get("Origin")
        foreign = origin not in {None, f"http://{request.host}", f"https://{request.host}"}
    if foreign:
        raise Forbidden("Requests from other sites are not accepted.")


def add_headers(response: Response) -> Response:
    """Put the security headers on an answer."""
    response.headers.update(HEADERS)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = HSTS
    return response
