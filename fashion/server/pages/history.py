"""What somebody asked on the page, and what they say to the answers."""

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Response as AnyResponse

from fashion.server.api.predict import served_model
from fashion.server.security import session
from fashion.server.storage.accounts import Account
from fashion.server.storage.prediction_history import LONGEST_COMMENT, NONE_OF_THESE, Prediction, predictions

blueprint = Blueprint("history", __name__, url_prefix="/history")

PER_PAGE = 12
LARGEST_NUMBER = 2**31  # of a page or an answer: what a database can count to without looking


@blueprint.get("")
@session.sign_in_required
def index() -> str:
    """Show one page of the answers, newest first."""
    predictions().prune()
    page = min(max(request.args.get("page", 1, type=int), 1), LARGEST_NUMBER)
    found, count = predictions().of(_owner().name, page, PER_PAGE)
    pages = max(1, -(-count // PER_PAGE))
    if page > pages:
        found, count = predictions().of(_owner().name, pages, PER_PAGE)
    return render_template("history.html", found=found, count=count, page=min(page, pages), pages=pages)


@blueprint.get("/<int:number>")
@session.sign_in_required
def one(number: int) -> str:
    """Show one answer."""
    return render_template("prediction.html", prediction=_found(number))


@blueprint.get("/<int:number>/picture")
@session.sign_in_required
def picture(number: int) -> Response:
    """Show the picture of an answer, where it is kept, to its owner and to admins."""
    reader = _owner()
    jpeg = predictions().picture(_number(number), None if reader.role == "admin" else reader.name)
    if jpeg is None:
        raise NotFound("There is no such picture.")
    return Response(jpeg, mimetype="image/jpeg")


@blueprint.post("/<int:number>/feedback")
@session.sign_in_required
def say(number: int) -> AnyResponse:
    """Note whether the answer was right, or what it should have been."""
    said: str | None = request.form.get("said", "")
    if said not in {*served_model().classes, NONE_OF_THESE, _found(number).predicted_class, ""}:
        raise BadRequest("said: expected one of the classes, or nothing to take it back.")
    comment = "".join(letter for letter in request.form.get("comment", "").strip() if letter.isprintable())
    if len(comment) > LONGEST_COMMENT:
        raise BadRequest(f"comment: got {len(comment)} characters, expected at most {LONGEST_COMMENT}.")
    predictions().say(number, _owner().name, said or None, comment)
    return redirect(url_for("history.one", number=number), 303)


@blueprint.post("/<int:number>/delete")
@session.sign_in_required
def delete(number: int) -> AnyResponse:
    """Delete an answer, and all that belongs to it."""
    predictions().delete(_owner().name, _found(number).id)
    return redirect(url_for("history.index"), 303)


@blueprint.post("/delete")
@session.sign_in_required
def delete_all() -> AnyResponse:
    """Delete all answers of who is signed in."""
    predictions().delete(_owner().name)
    return redirect(url_for("history.index"), 303)


def _owner() -> Account:
    account = session.current()
    if account is None:  # sign_in_required lets nobody else pass
        raise NotFound
    return account


def _found(number: int) -> Prediction:
    prediction = predictions().find(_number(number), _owner().name)
    if prediction is None:
        raise NotFound("There is no such answer among yours.")
    return prediction


def _number(number: int) -> int:
    if number >= LARGEST_NUMBER:
        raise NotFound("There is no such answer.")
    return number
