"""What the server did lately, out of its database, for those who look after it."""

import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, extract, func, select

from fashion.server.storage.database import Database, PredictionRow, RequestRow
from fashion.server.storage.prediction_history import NONE_OF_THESE

CONFIDENCE_BINS = 10


class Period(NamedTuple):
    """How far to look back, in steps that are drawn as one bar each."""

    label: str
    step: datetime.timedelta
    steps: int


PERIODS = {
    "day": Period("24 hours", datetime.timedelta(hours=1), 24),
    "week": Period("7 days", datetime.timedelta(hours=6), 28),
    "month": Period("30 days", datetime.timedelta(days=1), 30),
    "quarter": Period("90 days", datetime.timedelta(days=3), 30),
}


class Step(NamedTuple):
    """One bar: what happened from a time on, for one step of the period."""

    start: datetime.datetime
    answered: int
    refused: int
    failed: int
    login_failures: int

    @property
    def requests(self) -> int:
        """All of them."""
        return self.answered + self.refused + self.failed


class Bin(NamedTuple):
    """Answers whose confidence is in [low, low + 1 / CONFIDENCE_BINS), by decision."""

    low: float
    accepted: int
    abstained: int


class Statistics(NamedTuple):
    """What is drawn.

    Attributes:
        steps: Oldest first.
        class_counts: Predictions by class, in the order of the model's classes.
        bins: Confidence, lowest first.
        confusion: What people said it was, by what was predicted: ``confusion[said][predicted]``.
    """

    steps: list[Step]
    class_counts: dict[str, int]
    bins: list[Bin]
    confusion: dict[str, dict[str, int]]

    @property
    def requests(self) -> int:
        """All requests."""
        return sum(step.requests for step in self.steps)

    @property
    def failures(self) -> int:
        """Requests that failed by the server's own fault."""
        return sum(step.failed for step in self.steps)

    @property
    def login_failures(self) -> int:
        """Log-ins with a wrong password or token."""
        return sum(step.login_failures for step in self.steps)

    @property
    def predictions(self) -> int:
        """Pictures that got a class."""
        return sum(self.class_counts.values())

    @property
    def abstentions(self) -> int:
        """Pictures that the model was not sure of."""
        return sum(each.abstained for each in self.bins)

    @property
    def feedback(self) -> int:
        """Answers that somebody said something to."""
        return sum(sum(row.values()) for row in self.confusion.values())

    @property
    def most_said(self) -> int:
        """The largest count of the confusion matrix."""
        return max(max(row.values()) for row in self.confusion.values())

    @property
    def right(self) -> int:
        """Those of them that were right."""
        return sum(row.get(said, 0) for said, row in self.confusion.items())


def look_back(database: Database, classes: list[str], period: Period) -> Statistics:
    """Count what the database knows of a period that ends now.

    Raises:
        StorageUnavailableError: When the database cannot be used.
    """
    seconds = int(period.step.total_seconds())
    last = int(datetime.datetime.now(datetime.UTC).timestamp()) // seconds * seconds
    starts = [last - seconds * back for back in range(period.steps)][::-1]
    since = datetime.datetime.fromtimestamp(starts[0], datetime.UTC)
    with database.reading() as connection:
        return Statistics(
            _steps(connection, starts, seconds),
            _classes(connection, classes, since),
            _bins(connection, since),
            _confusion(connection, classes, since),
        )


def _steps(connection: Connection, starts: list[int], seconds: int) -> list[Step]:
    epoch = extract("epoch", RequestRow.time)
    start = (epoch - epoch % seconds).label("start")
    kinds = {
        "answered": RequestRow.status < 400,
        "refused": (RequestRow.status >= 400) & (RequestRow.status < 500),
        "failed": RequestRow.status >= 500,
        "login_failures": (RequestRow.status == 401) & RequestRow.account.is_(None),
    }
    sums = [func.sum(case((condition, 1), else_=0)).label(name) for name, condition in kinds.items()]
    since = datetime.datetime.fromtimestamp(starts[0], datetime.UTC)
    rows = connection.execute(select(start, *sums).where(RequestRow.time >= since).group_by(start))
    found = {int(row.start): [int(row[1 + place]) for place in range(len(kinds))] for row in rows}
    nothing = [0] * len(kinds)
    return [Step(datetime.datetime.fromtimestamp(at, datetime.UTC), *found.get(at, nothing)) for at in starts]


def _classes(connection: Connection, classes: list[str], since: datetime.datetime) -> dict[str, int]:
    rows = connection.execute(
        select(RequestRow.predicted_class, func.count())
        .where(RequestRow.time >= since, RequestRow.predicted_class.is_not(None))
        .group_by(RequestRow.predicted_class)
    )
    counts = {str(name): count for name, count in rows}
    return {name: counts.get(name, 0) for name in dict.fromkeys([*classes, *counts])}


def _bins(connection: Connection, since: datetime.datetime) -> list[Bin]:
    columns: list[Any] = []
    for number in range(CONFIDENCE_BINS):
        low, high = number / CONFIDENCE_BINS, (number + 1) / CONFIDENCE_BINS
        inside = RequestRow.confidence >= low
        if number + 1 < CONFIDENCE_BINS:
            inside &= RequestRow.confidence < high
        abstained = RequestRow.decision.is_not_distinct_from("abstain")
        columns += [func.sum(case((inside & ~abstained, 1), else_=0)), func.sum(case((inside & abstained, 1), else_=0))]
    sums = [int(value or 0) for value in connection.execute(select(*columns).where(RequestRow.time >= since)).one()]
    return [Bin(place / CONFIDENCE_BINS, *sums[2 * place : 2 * place + 2]) for place in range(CONFIDENCE_BINS)]


def _confusion(connection: Connection, classes: list[str], since: datetime.datetime) -> dict[str, dict[str, int]]:
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
