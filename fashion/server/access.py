"""Decorators of views that are not for everybody."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flask import abort, redirect, request, url_for

from fashion.server.security.csrf import SAFE_METHODS
from fashion.server.services import services

P = ParamSpec("P")
R = TypeVar("R")


def login_required(view: Callable[P, R]) -> Callable[P, R]:
    """Answer 401 unless the request is authenticated by a password, a token or a session."""

    @functools.wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        services().authentication.identify()
        return view(*args, **kwargs)

    return checked


def sign_in_required(view: Callable[P, R]) -> Callable[P, R]:
    """Redirect to the sign-in page, and back from there, unless somebody is signed in."""

    @functools.wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if services().authentication.identify_session() is None:
            here = request.root_path + request.full_path.rstrip("?")
            back = here if request.method in SAFE_METHODS else url_for("web.index")
            abort(redirect(url_for("login.show", next=back), 303))
        return view(*args, **kwargs)

    return checked
