"""What those who look after the server see: what it did lately, and what people say to its answers."""

import csv
import io
from typing import NamedTuple

from flask import Blueprint, Response, current_app, render_template, request
from werkzeug.exceptions import Forbidden

from fashion.server.api.predict import served_model
from fashion.server.security import session
from fashion.server.storage import usage
from fashion.server.storage.database import Database
from fashion.server.storage.prediction_history import Prediction, predictions

blueprint = Blueprint("admin", __name__, url_prefix="/admin")

FORMULA = ("=", "+", "-", "@", "\t", "\r")
TIME_FORMAT = "%-d %b, %H:%M"
FIELDS = tuple(field for field in Prediction._fields if field != "has_picture")


class Chart(NamedTuple):
    """Stacked columns.

    Attributes:
        title: What is counted.
        columns: The name of each, and its counts by series.
        series: Their keys, which style.css colours, and words; from the bottom up.
        axis: What stands below, evenly spaced.
    """

    title: str
    columns: list[tuple[str, dict[str, int]]]
    series: dict[str, str]
    axis: list[str]

    @property
    def top(self) -> int:
        """The highest column, at least 1."""
        return max(1, *(sum(counts[key] for key in self.series) for _, counts in self.columns))

    @property
    def total(self) -> int:
        """All that is counted."""
        return sum(counts[key] for _, counts in self.columns for key in self.series)


@blueprint.before_request
@session.sign_in_required
def admins_only() -> None:
    """Let nobody else in.

    Raises:
        Forbidden: When the account has another role.
    """
    account = session.current()
    if account is None or account.role != "admin":
        raise Forbidden("This page is for accounts with the role admin.")


@blueprint.get("")
def index() -> str:
    """Show what happened lately."""
    chosen = request.args.get("period", "")
    chosen = chosen if chosen in usage.PERIODS else "day"
    period = usage.PERIODS[chosen]
    database: Database = current_app.extensions["database"]
    found = usage.look_back(database, served_model().classes, period)
    return render_template(
        "admin.html", found=found, charts=_charts(found), periods=usage.PERIODS, chosen=chosen, period=period
    )


@blueprint.get("/feedback.csv")
def feedback() -> Response:
    """Export what people said to answers, for a spreadsheet or for training."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(FIELDS)
    for prediction in predictions().with_feedback():
        values = prediction._asdict() | {"time": prediction.time.isoformat()}
        writer.writerow([_harmless(values[field]) for field in FIELDS])
    download = Response(stream.getvalue(), mimetype="text/csv")
    download.headers["Content-Disposition"] = 'attachment; filename="feedback.csv"'
    return download


def _charts(found: usage.Statistics) -> dict[str, Chart]:
    steps = [(step.start.strftime(TIME_FORMAT), step._asdict()) for step in found.steps]
    axis = [steps[place * len(steps) // 4][0] for place in range(4)] + ["now"]
    bins = [(f"{each.low:.0%} to {each.low + 1 / len(found.bins):.0%}", each._asdict()) for each in found.bins]
    return {
        "requests": Chart(
            "Requests", steps, {"answered": "answered", "refused": "refused", "failed": "server errors"}, axis
        ),
        "login_failures": Chart("Failed log-ins", steps, {"login_failures": "wrong password or token"}, axis),
        "confidence": Chart(
            "Confidence", bins, {"accepted": "answered", "abstained": "not sure"}, ["0 %", "50 %", "100 %"]
        ),
    }


def _harmless(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
