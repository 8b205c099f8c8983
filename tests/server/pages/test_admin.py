"""The admin page: usage statistics from the database, and the feedback as a file."""

import csv
import datetime
import io
import re

import pytest
from services import DATABASES
from serving import CLASSES, SETTINGS, basic
from sqlalchemy import insert

from fashion.server.pages.admin import CSV_FIELDS
from fashion.server.settings import Settings
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.prediction_history import PredictionHistory
from fashion.server.storage.tables import RequestRow
from fashion.server.storage.usage import PERIODS, usage_statistics

HOUR = datetime.timedelta(hours=1)


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    url = f"sqlite:///{tmp_path}/p.db" if request.param == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    accounts = Accounts(url)
    accounts.upgrade()
    accounts.add("ann", "a long password")
    yield accounts.database
    accounts.database.close()


def record(database, time, status=200, **values) -> None:
    row = {"time": time, "request_id": "r", "route": "/predict", "status": status, "account": "ann", **values}
    with database.writing() as connection:
        connection.execute(insert(RequestRow).values(row))


def test_requests_fall_into_their_hour(database):
    now = datetime.datetime.now(datetime.UTC)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    record(database, this_hour)  # the first moment
    record(database, this_hour - HOUR + datetime.timedelta(minutes=59, seconds=59, milliseconds=900), 500)
    record(database, this_hour - HOUR, 404)
    record(database, this_hour - HOUR, 401, account=None)
    record(database, this_hour - HOUR, 503)
    record(database, this_hour - 23 * HOUR)
    record(database, this_hour - 23 * HOUR - datetime.timedelta(milliseconds=100))  # before the period
    found = usage_statistics(database, CLASSES, PERIODS["day"])
    assert len(found.intervals) == 24
    assert found.intervals[-1] == (this_hour, 1, 0, 0, 0, 0)
    assert found.intervals[-2] == (this_hour - HOUR, 0, 2, 1, 1, 1)
    assert found.intervals[0] == (this_hour - 23 * HOUR, 1, 0, 0, 0, 0)
    unavailable = sum(interval.unavailable for interval in found.intervals)
    assert (found.requests, found.failures, found.login_failures, unavailable) == (6, 1, 1, 1)
    longer = usage_statistics(database, CLASSES, PERIODS["month"])
    assert (len(longer.intervals), longer.requests) == (30, 7)


def test_classes_and_confidence(database):
    now = datetime.datetime.now(datetime.UTC)
    for confidence, decision in ((0.0, "abstain"), (0.1, "abstain"), (0.95, "accept"), (1.0, "accept"), (0.5, None)):
        record(database, now, predicted_class="Bag", confidence=confidence, decision=decision)
    record(database, now, predicted_class="Coat", confidence=0.1999, decision="accept")
    found = usage_statistics(database, CLASSES, PERIODS["day"])
    assert found.class_counts == {**dict.fromkeys(CLASSES, 0), "Bag": 5, "Coat": 1}
    assert [(each.accepted, each.abstained) for each in found.bins] == [
        (0, 1), (1, 1), (0, 0), (0, 0), (0, 0), (1, 0), (0, 0), (0, 0), (0, 0), (2, 0),
    ]  # fmt: skip
    assert (found.predictions, found.abstentions) == (6, 2)


def test_feedback_as_a_confusion_matrix(database):
    known = PredictionHistory(database, Settings(**SETTINGS))
    for predicted, said in (("Coat", "Coat"), ("Coat", "Shirt"), ("Coat", "Shirt"), ("Bag", "Something else")):
        number = known.add("ann", "r", "0" * 64, "v", predicted, 0.5, "accept")
        known.give_feedback(number, "ann", said)
    known.add("ann", "r", "0" * 64, "v", "Bag", 0.5, "accept")
    found = usage_statistics(database, CLASSES, PERIODS["day"])
    assert found.confusion["Shirt"]["Coat"] == 2
    assert found.confusion["Coat"]["Coat"] == found.confusion["Something else"]["Bag"] == 1
    assert (found.feedback, found.confirmed, found.largest_confusion) == (4, 1, 2)


def test_usage_of_an_empty_database(database):
    found = usage_statistics(database, CLASSES, PERIODS["quarter"])
    assert (found.requests, found.predictions, found.abstentions, found.feedback, found.largest_confusion) == (0,) * 5


@pytest.mark.parametrize("path", ["/admin", "/admin/feedback.csv"])
def test_the_page_is_for_admins(make_app, accounts, sign_in, path):
    accounts.add("ada", "a long password")
    client = make_app().test_client()
    assert client.get(path).headers["Location"] == f"/login?next={path}"
    sign_in(client, "ada", "a long password")
    refused = client.get(path)
    assert refused.status_code == 403
    assert refused.json["detail"] == "This page is for accounts with the role admin."
    assert 'href="/admin"' not in client.get("/").text
    sign_in(client)
    assert client.get(path).status_code == 200
    assert 'href="/admin"' in client.get("/").text


def test_the_page_shows_what_happened(make_app, accounts, sign_in):
    app = make_app()
    client = app.test_client()
    client.post("/predict", headers=basic("admin", "guess"))
    sign_in(client)
    page = client.post("/examples/0", headers={"Accept": "text/html"}).text
    number = re.search(r'id="feedback-(\d+)"', page)[1]
    client.post(f"/history/{number}/feedback", data={"said": "Bag"})
    app.services.monitor.request_log.close()
    tiles = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", client.get("/admin").text))
    assert tiles["Predictions"] == tiles["Failed log-ins"] == "1"
    assert tiles["Server errors"] == "0"
    for period, step in (("week", "7 days"), ("nonsense", "24 hours")):
        text = client.get(f"/admin?period={period}").text
        assert re.search(rf'aria-current="true">{step}<', text)


def test_the_export_contains_no_formulas(make_app, accounts, sign_in):
    client = make_app().test_client()
    sign_in(client)
    comments = ['=HYPERLINK("http://evil.example")', "+1", "-1", "@x", 'plain, "quoted"']
    for comment in comments:
        page = client.post("/examples/0", headers={"Accept": "text/html"}).text
        number = re.search(r'id="feedback-(\d+)"', page)[1]
        client.post(f"/history/{number}/feedback", data={"said": "Coat", "comment": comment})
    answer = client.get("/admin/feedback.csv")
    assert answer.mimetype == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="feedback.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert tuple(rows[0]) == CSV_FIELDS
    assert [row["comment"] for row in rows] == [f"'{comment}" for comment in comments[:4]] + comments[4:]
    assert {(row["account"], row["said_class"], len(row["picture_sha256"])) for row in rows} == {("admin", "Coat", 64)}
