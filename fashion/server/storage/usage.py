"""Usage statistics for the admin page, computed from the request log and the feedback."""

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, extract, func, select

from fashion.server.storage.database import Database
from fashion.server.storage.prediction_history import NONE_OF_THESE
from fashion.server.storage.tables import PredictionRow, RequestRow, utc_now

CONFIDENCE_BINS = 10


class Period(NamedTuple):
    """A time range that ends now, divided into intervals of equal length."""

    label: str
    length: datetime.timedelta
    interval: datetime.timedelta


PERIODS = {
    "day": Period("24 hours", datetime.timedelta(days=1), datetime.timedelta(hours=1)),
    "week": Period("7 days", datetime.timedelta(days=7), datetime.timedelta(hours=6)),
    "month": Period("30 days", datetime.timedelta(days=30), datetime.timedelta(days=1)),
    "quarter": Period("90 days", datetime.timedelta(days=90), datetime.timedelta(days=3)),
}


class IntervalCounts(NamedTuple):
    """Requests in one interval, by the kind of response.

    Attributes:
        start: The beginning of the interval.
        answered: With a status below 400.
        refused: With a 4xx status.
        failed: With a 5xx status other than 503.
        login_failures: With a wrong password or token.
        unavailable: With 503: before the model was loaded, for example, or while too many were waiting.
    """

    start: datetime.datetime
    answered: int
    refused: int
    failed: int
    login_failures: int
    unavailable: int

    @property
    def requests(self) -> int:
        """All requests."""
        return self.answered + self.refused + self.failed + self.unavailable


class ConfidenceBin(NamedTuple):
    """Predictions with a confidence in [low, low + 1 / CONFIDENCE_BINS), by decision."""

    low: float
    accepted: int
    abstained: int


class UsageStatistics(NamedTuple):
    """Statistics of one period.

    Attributes:
        intervals: Oldest first.
        class_counts: Predictions by class, in the order of the model's classes.
        bins: Predictions by confidence, lowest first.
        confusion: Feedback by prediction: ``confusion[said][predicted]``.
    """

    intervals: list[IntervalCounts]
    class_counts: dict[str, int]
    bins: list[ConfidenceBin]
    confusion: dict[str, dict[str, int]]

    @property
    def requests(self) -> int:
        """All requests."""
        return sum(interval.requests for interval in self.intervals)

    @property
    def failures(self) -> int:
        """Requests answered with a 5xx status other than 503."""
        return sum(interval.failed for interval in self.intervals)

    @property
    def login_failures(self) -> int:
        """Log-ins with a wrong password or token."""
        return sum(interval.login_failures for interval in self.intervals)

    @property
    def predictions(self) -> int:
        """Classified images."""
        return sum(self.class_counts.values())

    @property
    def abstentions(self) -> int:
        """Images on which the model abstained."""
        return sum(each.abstained for each in self.bins)

    @property
    def feedback(self) -> int:
        """Predictions with feedback."""
        return sum(sum(row.values()) for row in self.confusion.values())

    @property
    def largest_confusion(self) -> int:
        """The largest count of the confusion matrix."""
        return max(max(row.values()) for row in self.confusion.values())

    @property
    def confirmed(self) -> int:
        """Predictions confirmed by feedback."""
        return sum(row.get(said, 0) for said, row in self.confusion.items())


def usage_statistics(database: Database, classes: Sequence[str], period: Period) -> UsageStatistics:
    """Compute the statistics of a period that ends now.

    Raises:
        StorageUnavailableError: If the database cannot be used.
    """
    seconds = int(period.interval.total_seconds())
    last = int(utc_now().timestamp()) // seconds * seconds
    starts = [last - seconds * back for back in range(period.length // period.interval)][::-1]
    since = datetime.datetime.fromtimestamp(starts[0], datetime.UTC)
    with database.reading() as connection:
        return UsageStatistics(
            _intervals(connection, starts, seconds),
            _class_counts(connection, classes, since),
            _confidence_bins(connection, since),
            _confusion(connection, classes, since),
        )


def _intervals(connection: Connection, starts: list[int], seconds: int) -> list[IntervalCounts]:
    epoch = extract("epoch", RequestRow.time)
    start = (epoch - epoch % seconds).label("start")
    kinds = {
        "answered": RequestRow.status < 400,
        "refused": (RequestRow.status >= 400) & (RequestRow.status < 500),
        "failed": (RequestRow.status >= 500) & (RequestRow.status != 503),
        "login_failures": (RequestRow.status == 401) & RequestRow.account.is_(None),
        "unavailable": RequestRow.status == 503,
    }
    sums = [func.sum(case((condition, 1), else_=0)).label(name) for name, condition in kinds.items()]
    since = datetime.datetime.fromtimestamp(starts[0], datetime.UTC)
    rows = connection.execute(select(start, *sums).where(RequestRow.time >= since).group_by(start))
    found = {int(row.start): [int(row[1 + place]) for place in range(len(kinds))] for row in rows}
    nothing = [0] * len(kinds)
    return [IntervalCounts(datetime.datetime.fromtimestamp(at, datetime.UTC), *found.get(at, nothing)) for at in starts]


def _class_counts(connection: Connection, classes: Sequence[str], since: datetime.datetime) -> dict[str, int]:
    rows = connection.execute(
        select(RequestRow.predicted_class, func.count())
        .where(RequestRow.time >= since, RequestRow.predicted_class.is_not(None))
        .group_by(RequestRow.predicted_class)
    )
    counts = {str(name): count for name, count in rows}
    return {name: counts.get(name, 0) for name in dict.fromkeys([*classes, *counts])}


def _confidence_bins(connection: Connection, since: datetime.datetime) -> list[ConfidenceBin]:
    columns: list[Any] = []
    for number in range(CONFIDENCE_BINS):
        low, high = number / CONFIDENCE_BINS, (number + 1) / CONFIDENCE_BINS
        inside = RequestRow.confidence >= low
        if number + 1 < CONFIDENCE_BINS:
            inside &= RequestRow.confidence < high
        abstained = RequestRow.decision.is_not_distinct_from("abstain")
        columns += [func.sum(case((inside & ~abstained, 1), else_=0)), func.sum(case((inside & abstained, 1), else_=0))]
    sums = [int(value or 0) for value in connection.execute(select(*columns).where(RequestRow.time >= since)).one()]
    return [
        ConfidenceBin(place / CONFIDENCE_BINS, *sums[2 * place : 2 * place + 2]) for place in range(CONFIDENCE_BINS)
    ]


def _confusion(connection: Connection, classes: Sequence[str], since: datetime.datetime) -> dict[str, dict[str, int]]:
    rows = connection.execute(
        select(PredictionRow.said_class, PredictionRow.predicted_class, func.count())
        .where(PredictionRow.time >= since, PredictionRow.said_class.is_not(None))
        .group_by(PredictionRow.said_class, PredictionRow.predicted_class)
    ).all()
    counts = {(str(said), predicted): count for said, predicted, count in rows}
    columns = dict.fromkeys([*classes, *(predicted for _, predicted in counts)])
    return {
        said: {predicted: counts.get((said, predicted), 0) for predicted in columns}
        for said in dict.fromkeys([*classes, NONE_OF_THESE, *(said for said, _ in counts)])
    }
