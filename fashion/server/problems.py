"""Error responses: ``application/problem+json`` (RFC 9457), or an HTML page for browsers."""

import logging
from http import HTTPStatus
from typing import Literal

import pydantic
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
from fashion.server.settings import MAX_BODY_BYTES, MAX_FORM_PARTS, MAX_TEXT_BYTES, MEBIBYTE

log = logging.getLogger(__name__)

STORAGE_RETRY_SECONDS = 5  # a guess
INCOMPLETE = "The body did not arrive completely and in time."
PROBLEM = "application/problem+json"


class UnavailableError(ServiceUnavailable):
    """A 503 response with its reason for the metrics; not counted as a server error.

    Args:
        reason: What is not available.
        description: The human-readable message.
        retry_after: Seconds after which to try again.
    """

    def __init__(
        self, reason: Literal["not_ready", "busy", "database", "redis"], description: str, retry_after: int
    ) -> None:
        super().__init__(description, retry_after=retry_after)
        self.reason = reason


class Problem(pydantic.BaseModel):
    """An error as RFC 9457 describes one; ``detail`` is for people and never quotes the client."""

    type: str
    title: str
    status: int
    detail: str


class ProblemResponse(Problem):
    """The body of an error response; the request's id finds it in the server's log."""

    request_id: str | None


class ProtocolError(pydantic.BaseModel):
    """The body of an error response in the Open Inference Protocol."""

    error: str


def init_app(app: Flask) -> None:
    """Turn every error of an application into a response of this module."""
    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(ParseException, lambda error: answer(BadRequest("The body's chunks are malformed.")))
    app.register_error_handler(ClientDisconnected, lambda error: answer(RequestTimeout(INCOMPLETE)))
    app.register_error_handler(NoMoreData, lambda error: answer(RequestTimeout(INCOMPLETE)))
    app.register_error_handler(StorageUnavailableError, _storage_unavailable)
    app.register_error_handler(Exception, _unexpected)


def describe(error: HTTPException) -> Problem:
    """Return an HTTP error as a problem."""
    status = HTTPStatus(error.code or 500)
    return Problem(type="about:blank", title=status.phrase, status=status.value, detail=_detail(error))


def wants_html() -> bool:
    """Return whether the client prefers HTML to JSON, as browsers do."""
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]


def answer(error: HTTPException) -> Response:
    """Return the response to an HTTP error, in the form that the client expects."""
    if isinstance(error, UnavailableError):
        g.unavailable = error.reason
    problem = ProblemResponse(**describe(error).model_dump(), request_id=g.get("request_id"))
    if request.path.startswith("/v2/"):
        response = jsonify(ProtocolError(error=problem.detail or problem.title).model_dump())
    elif wants_html() and not isinstance(error, SecurityError):  # no links can be built for an unknown host
        response = make_response(render_template("problem.html", problem=problem))
    else:
        response = jsonify(problem.model_dump())
        response.mimetype = PROBLEM
    response.status_code = problem.status
    # Keep the error's Allow, Retry-After and WWW-Authenticate, but not the headers of its own body.
    for name, value in error.get_headers(request.environ):
        if name.lower() not in {"content-type", "content-length"}:
            response.headers.add(name, value)
    return response


def _detail(error: HTTPException) -> str:
    if isinstance(error, RequestEntityTooLarge) and error.description == RequestEntityTooLarge.description:
        return (
            f"The body is too large: at most {MAX_BODY_BYTES // MEBIBYTE} MiB in at most {MAX_FORM_PARTS} parts, "
            f"with at most {MAX_TEXT_BYTES // 1024} KiB in text fields."
        )
    if isinstance(error, SecurityError):  # Werkzeug's own text quotes the header
        return "This server does not answer to that host name."
    return error.description or ""


def _storage_unavailable(error: StorageUnavailableError) -> Response:
    """Log for the operator what does not work; the client can only retry."""
    log.error("request %s: %s", g.get("request_id"), error, extra={"outage": error.service})
    return answer(
        UnavailableError(
            error.service, "The server's storage is unavailable; try again later.", retry_after=STORAGE_RETRY_SECONDS
        )
    )


def _unexpected(error: Exception) -> Response:
    """Log a bug with its traceback; the client learns nothing but the request's id."""
    log.error("unexpected error in request %s", g.get("request_id"), exc_info=error)
    return answer(InternalServerError("Unexpected error; the server's log has the details under this request's id."))
