"""The admin page: recent activity, and the feedback as a file."""

import csv
import io
from collections.abc import Collection, Mapping
from typing import NamedTuple

from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import Forbidden

from fashion.server.access import sign_in_required
from fashion.server.services import services
from fashion.server.storage.prediction_history import PastPrediction
from fashion.server.storage.usage import PERIODS, UsageStatistics, usage_statistics

blueprint = Blueprint("admin", __name__, url_prefix="/admin")

FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")
TIME_FORMAT = "%-d %b, %H:%M"
SHOWN_CLASSES = 20  # with more, only those that occur in the period are listed, the most frequent first
CSV_FIELDS = tuple(field for field in PastPrediction._fields if field != "has_image")


class ColumnChart(NamedTuple):
    """A chart of stacked columns.

    Attributes:
        title: What is counted.
        columns: The name of each column, and its counts by series.
        series: The label of each series by its key, which style.css colours; stacked from the bottom up.
        axis: Labels below the columns, evenly spaced.
    """

    title: str
    columns: list[tuple[str, dict[str, int]]]
    series: dict[str, str]
    axis: list[str]

    @property
    def top(self) -> int:
        """The height of the highest column, at least 1."""
        return max(1, *(sum(counts[key] for key in self.series) for _, counts in self.columns))

    @property
    def total(self) -> int:
        """The sum of all columns."""
        return sum(counts[key] for _, counts in self.columns for key in self.series)


@blueprint.before_request
@sign_in_required
def admins_only() -> None:
    """Refuse everybody but admins.

    Raises:
        Forbidden: If the account has another role.
    """
    account = services().session.account()
    if account is None or account.role != "admin":
        raise Forbidden("This page is for accounts with the role admin.")


@blueprint.get("")
def index() -> str:
    """Show the activity in a period."""
    chosen = request.args.get("period", "")
    chosen = chosen if chosen in PERIODS else "day"
    usage = usage_statistics(services().database, services().model.classes, PERIODS[chosen])
    counts = usage.class_counts
    listed = _shown(counts, counts)
    return render_template(
        "admin.html",
        usage=usage,
        charts=_charts(usage),
        class_counts={name: counts[name] for name in listed},
        other_classes=len(counts) - len(listed),
        confusion=_shown_confusion(usage.confusion),
        periods=PERIODS,
        chosen=chosen,
    )


@blueprint.get("/feedback.csv")
def feedback() -> Response:
    """Export all predictions with feedback, for a spreadsheet or for training."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(CSV_FIELDS)
    for prediction in services().history.with_feedback():
        values = prediction._asdict() | {"time": prediction.time.isoformat()}
        writer.writerow([_escape_formula(values[field]) for field in CSV_FIELDS])
    download = Response(stream.getvalue(), mimetype="text/csv")
    download.headers["Content-Disposition"] = 'attachment; filename="feedback.csv"'
    return download


def _shown(names: Collection[str], counts: Mapping[str, int]) -> list[str]:
    """Return the classes to list: all of a few, else the most frequent of those that occur."""
    if len(names) <= SHOWN_CLASSES + 1:  # one more for feedback: none of these
        return list(names)
    return sorted((name for name in names if counts[name]), key=lambda name: -counts[name])[:SHOWN_CLASSES]


def _shown_confusion(confusion: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return the rows and columns of the confusion matrix that are listed."""
    said = {name: sum(row.values()) for name, row in confusion.items()}
    predicted = {name: sum(row[name] for row in confusion.values()) for name in next(iter(confusion.values()))}
    columns = _shown(predicted, predicted)
    return {name: {each: confusion[name][each] for each in columns} for name in _shown(said, said)}


def _charts(usage: UsageStatistics) -> dict[str, ColumnChart]:
    intervals = [(each.start.strftime(TIME_FORMAT), each._asdict()) for each in usage.intervals]
    axis = [intervals[place * len(intervals) // 4][0] for place in range(4)] + ["now"]
    bins = [(f"{each.low:.0%} to {each.low + 1 / len(usage.bins):.0%}", each._asdict()) for each in usage.bins]
    return {
        "requests": ColumnChart(
            "Requests",
            intervals,
            {
                "answered": "answered",
                "refused": "refused",
                "unavailable": "not ready or busy",
                "failed": "server errors",
            },
            axis,
        ),
        "login_failures": ColumnChart("Failed log-ins", intervals, {"login_failures": "wrong password or token"}, axis),
        "confidence": ColumnChart(
            "Confidence", bins, {"accepted": "answered", "abstained": "not sure"}, ["0 %", "50 %", "100 %"]
        ),
    }


def _escape_formula(value: object) -> object:
    """Return a cell that no spreadsheet evaluates as a formula (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_PREFIXES) else value
