"""Errors as the client reads them: ``application/problem+json`` (RFC 9457), or a page for a browser."""

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, jsonify, make_response, render_template, request
from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    HTTPException,
    InternalServerError,
    RequestEntityTooLarge,
    RequestTimeout,
    SecurityError,
    ServiceUnavailable,
)

from fashion.errors import StorageUnavailableError
from fashion.server.settings import MEBIBYTE, MOST_BODY_BYTES, MOST_FORM_PARTS

log = logging.getLogger(__name__)

UNUSABLE_RETRY_SECONDS = 5  # a guess
INCOMPLETE = "The body did not come completely, or not in time."
PROBLEM = "application/problem+json"


def init_app(app: Flask) -> None:
    """Answer every error of the application as a problem."""
    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(ParseException, lambda error: answer(BadRequest("The body's chunks are malformed.")))
    app.register_error_handler(ClientDisconnected, lambda error: answer(RequestTimeout(INCOMPLETE)))
    app.register_error_handler(NoMoreData, lambda error: answer(RequestTimeout(INCOMPLETE)))
    app.register_error_handler(StorageUnavailableError, _unusable)
    app.register_error_handler(Exception, _unexpected)


def describe(error: HTTPException) -> dict[str, Any]:
    """Return an error as the members of a problem; ``detail`` is written for people and never quotes the client."""
    status = HTTPStatus(error.code or 500)
    return {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": _detail(error)}


def wants_html() -> bool:
    """Return whether the client, a browser, likes HTML better than JSON."""
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]


def answer(error: HTTPException) -> Response:
    """Return the answer that tells the client of an error."""
    problem = {**describe(error), "request_id": g.get("request_id")}
    if request.path.startswith("/v2/"):
        # The Open Inference Protocol has an error object of its own.
        response = jsonify(error=problem["detail"] or problem["title"])
    elif wants_html() and not isinstance(error, SecurityError):  # no links can be made to an unknown host
        response = make_response(render_template("problem.html", problem=problem))
    else:
        response = jsonify(problem)
        response.mimetype = PROBLEM
    response.status_code = problem["status"]
    # Allow, Retry-After and WWW-Authenticate belong to the error; what describes its own body does not.
    for name, value in error.get_headers(request.environ):
        if name.lower() not in {"content-type", "content-length"}:
            response.headers.add(name, value)
    return response


def _detail(error: HTTPException) -> str:
    if isinstance(error, RequestEntityTooLarge) and error.description == RequestEntityTooLarge.description:
        return (
            f"The body is too large: at most {MOST_BODY_BYTES // MEBIBYTE} MiB in at most {MOST_FORM_PARTS} parts, "
            "and text where pictures belong is not read."
        )
    if isinstance(error, SecurityError):  # Werkzeug's own text quotes the header
        return "This server does not answer to that host name."
    return error.description or ""


def _unusable(error: StorageUnavailableError) -> Response:
    """Tell the operator what does not work, most likely the database; the client can only come back."""
    log.error("request %s: %s", g.get("request_id"), error)
    return answer(
        ServiceUnavailable("Something this server needs does not work now.", retry_after=UNUSABLE_RETRY_SECONDS)
    )


def _unexpected(error: Exception) -> Response:
    """Log a bug with its traceback, and tell the client nothing but the number to ask for."""
    log.error("unexpected error in request %s", g.get("request_id"), exc_info=error)
    return answer(InternalServerError("Something went wrong here; the request's id finds it in the log."))
