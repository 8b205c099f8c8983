"""Signing in and out."""

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import Forbidden, HTTPException, TooManyRequests
from werkzeug.wrappers import Response as AnyResponse

from fashion.server.security.authentication import PAGE_CHALLENGES
from fashion.server.security.csrf import require_same_origin
from fashion.server.services import services

blueprint = Blueprint("login", __name__)

WRONG = "Wrong name or password. Both are case-sensitive."
MAX_NEXT_CHARACTERS = 512


@blueprint.get("/login")
def show() -> AnyResponse:
    """Show the form, unless somebody is signed in already."""
    target = local_path(request.args.get("next"))
    return _form(target) if services().session.account() is None else redirect(target, 303)


@blueprint.post("/login")
def sign_in() -> AnyResponse:
    """Begin a session, or show the form again with the reason why not."""
    require_same_origin()
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    target = local_path(request.form.get("next"))
    try:
        account = services().authentication.check_password(name, password)
    except TooManyRequests as error:
        return _form(target, name, f"Too many failed log-ins. Try again in {_duration(error)}.", error)
    except Forbidden as error:
        return _form(target, name, error.description, error)
    if account is None or not services().session.sign_in(account):
        refused = _form(target, name, WRONG)
        refused.status_code = 401
        refused.headers.extend([("WWW-Authenticate", str(challenge)) for challenge in PAGE_CHALLENGES])
        return refused
    return redirect(target, 303)


@blueprint.post("/logout")
def sign_out() -> AnyResponse:
    """End the session."""
    services().session.sign_out()
    return redirect(url_for("web.index"), 303)


def local_path(target: str | None) -> str:
    """Return the path of this server to go to after signing in; the first page if the target leads elsewhere.

    Browsers read a backslash as a slash and skip control characters, so a path may contain neither.
    """
    if (
        not target
        or len(target) > MAX_NEXT_CHARACTERS
        or not target.startswith(f"{request.root_path}/")  # another program's, where this server has a sub-path
        or target.startswith("//")
        or "\\" in target
        or not target.isprintable()
    ):
        return url_for("web.index")
    return target


def _form(target: str, name: str = "", problem: str | None = None, error: HTTPException | None = None) -> Response:
    page = make_response(render_template("login.html", next=target, name=name, problem=problem))
    if error is not None:
        page.status_code = error.code or 500
        if isinstance(error, TooManyRequests):
            page.headers["Retry-After"] = str(error.retry_after)
    return page


def _duration(error: TooManyRequests) -> str:
    seconds = error.retry_after if isinstance(error.retry_after, int) else 0
    minutes, rest = divmod(seconds, 60)
    parts = [f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * bool(rest)
    return " ".join(parts)
