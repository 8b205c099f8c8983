"""Signing in and out on the page."""

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import Forbidden, HTTPException, TooManyRequests
from werkzeug.wrappers import Response as AnyResponse

from fashion.server.security import session
from fashion.server.security.authentication import PAGE_CHALLENGES, authentication

blueprint = Blueprint("login", __name__)

WRONG = "This name and password do not belong together. Check both; capital letters count."
LONGEST_NEXT = 512


@blueprint.get("/login")
def show() -> AnyResponse:
    """Show the form, unless somebody is signed in already."""
    if session.current() is not None:
        return redirect(own_path(request.args.get("next")), 303)
    return _form(own_path(request.args.get("next")))


@blueprint.post("/login")
def sign_in() -> AnyResponse:
    """Begin a session, or say why not."""
    session.check_form()
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    back = own_path(request.form.get("next"))
    try:
        account = authentication().sign_in(name, password)
    except TooManyRequests as error:
        return _form(back, name, f"Too many wrong passwords. Try again in {_wait(error)}.", error)
    except Forbidden as error:
        return _form(back, name, error.description, error)
    if account is None:
        refused = _form(back, name, WRONG)
        refused.status_code = 401
        refused.headers.extend([("WWW-Authenticate", str(challenge)) for challenge in PAGE_CHALLENGES])
        return refused
    session.sign_in(account)
    return redirect(back, 303)


@blueprint.post("/logout")
def sign_out() -> AnyResponse:
    """End the session."""
    session.check_form()
    session.sign_out()
    return redirect(url_for("web.index"), 303)


def own_path(target: str | None) -> str:
    """Return a path of this server to go on to: the one that was asked for, or the first page where it leads away.

    Browsers read a backslash as a slash and skip control characters: neither may stand in a path.
    """
    if (
        not target
        or len(target) > LONGEST_NEXT
        or not target.startswith("/")
        or target.startswith("//")
        or "\\" in target
        or not target.isprintable()
    ):
        return url_for("web.index")
    return target


def _form(back: str, name: str = "", problem: str | None = None, error: HTTPException | None = None) -> Response:
    page = make_response(render_template("login.html", next=back, name=name, problem=problem))
    if error is not None:
        page.status_code = error.code or 500
        if isinstance(error, TooManyRequests):
            page.headers["Retry-After"] = str(error.retry_after)
    return page


def _wait(error: TooManyRequests) -> str:
    seconds = error.retry_after if isinstance(error.retry_after, int) else 0
    minutes, rest = divmod(seconds, 60)
    parts = [f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * bool(rest)
    return " ".join(parts)
