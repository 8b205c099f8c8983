"""A user's past predictions, and the feedback on them."""

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Response as AnyResponse

from fashion.server.access import sign_in_required
from fashion.server.services import services
from fashion.server.storage.accounts import Account
from fashion.server.storage.prediction_history import MAX_COMMENT_CHARACTERS, NONE_OF_THESE, PastPrediction

blueprint = Blueprint("history", __name__, url_prefix="/history")

PAGE_SIZE = 12
MAX_NUMBER = 2**31  # of a page or a prediction; a database rejects some larger numbers


@blueprint.get("")
@sign_in_required
def index() -> str:
    """Show one page of the predictions, newest first."""
    history = services().history
    page = min(max(request.args.get("page", 1, type=int), 1), MAX_NUMBER)
    found, count = history.page(_owner().name, page, PAGE_SIZE)
    pages = max(1, -(-count // PAGE_SIZE))
    if page > pages:
        page = pages
        found, count = history.page(_owner().name, page, PAGE_SIZE)
    return render_template("history.html", found=found, count=count, page=page, pages=pages)


@blueprint.get("/<int:number>")
@sign_in_required
def one(number: int) -> str:
    """Show one prediction."""
    return render_template("prediction.html", prediction=_find(number))


@blueprint.get("/<int:number>/picture")
@sign_in_required
def image(number: int) -> Response:
    """Return the stored image of a prediction to its owner or an admin."""
    reader = _owner()
    jpeg = services().history.image(_checked(number), None if reader.role == "admin" else reader.name)
    if jpeg is None:
        raise NotFound("There is no such image.")
    return Response(jpeg, mimetype="image/jpeg")


@blueprint.post("/<int:number>/feedback")
@sign_in_required
def give_feedback(number: int) -> AnyResponse:
    """Store whether the prediction was right, or what it should have been."""
    said: str | None = request.form.get("said", "")
    if said not in {*services().model.classes, NONE_OF_THESE, _find(number).predicted_class, ""}:
        raise BadRequest("said: expected one of the classes, or nothing to withdraw the feedback.")
    comment = "".join(letter for letter in request.form.get("comment", "").strip() if letter.isprintable())
    if len(comment) > MAX_COMMENT_CHARACTERS:
        raise BadRequest(f"comment: got {len(comment)} characters, expected at most {MAX_COMMENT_CHARACTERS}.")
    services().history.give_feedback(number, _owner().name, said or None, comment)
    return redirect(url_for("history.one", number=number), 303)


@blueprint.post("/<int:number>/delete")
@sign_in_required
def delete(number: int) -> AnyResponse:
    """Delete one prediction with its feedback and image."""
    services().history.delete(_owner().name, _find(number).id)
    return redirect(url_for("history.index"), 303)


@blueprint.post("/delete")
@sign_in_required
def delete_all() -> AnyResponse:
    """Delete all predictions of the user."""
    services().history.delete(_owner().name)
    return redirect(url_for("history.index"), 303)


def _owner() -> Account:
    account = services().session.account()
    if account is None:  # unreachable behind sign_in_required
        raise NotFound
    return account


def _find(number: int) -> PastPrediction:
    prediction = services().history.find(_checked(number), _owner().name)
    if prediction is None:
        raise NotFound("You have no such prediction.")
    return prediction


def _checked(number: int) -> int:
    if number >= MAX_NUMBER:
        raise NotFound("There is no such prediction.")
    return number
