"""The request log in the database."""

import datetime
import logging
import time

import pytest
from services import DATABASES
from sqlalchemy import insert, select, text

from fashion.server.storage import request_log as module
from fashion.server.storage.database import Database
from fashion.server.storage.request_log import LoggedRequest, RequestLog
from fashion.server.storage.tables import RequestRow

NOW = datetime.datetime.now(datetime.UTC)
REQUEST = LoggedRequest(NOW, "one", "ann", "/predict", 200, "Bag", 0.75, 1.5, 2.5, 3.5, "0" * 64)


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    url = f"sqlite:///{tmp_path}/b.db" if request.param == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    opened = Database(url)
    opened.upgrade()
    yield opened
    opened.close()


def kept(database):
    with database.reading() as connection:
        columns = [getattr(RequestRow, field) for field in LoggedRequest._fields]
        return [LoggedRequest(*row) for row in connection.execute(select(*columns).order_by(RequestRow.id))]


def test_recorded_requests_are_stored_once_the_log_is_closed(database):
    log = RequestLog(database)
    requests = [REQUEST, LoggedRequest(NOW, "two", None, "/predict", 401)] + [
        REQUEST._replace(request_id=str(n)) for n in range(500)
    ]
    for request in requests:
        log.record(request)
    log.close()
    assert kept(database) == requests


def store(database, *requests):
    with database.writing() as connection:
        connection.execute(insert(RequestRow), [request._asdict() for request in requests])


def test_old_and_excess_rows_are_deleted_although_nobody_sends_a_request(database, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    monkeypatch.setattr(module, "PRUNE_INTERVAL_SECONDS", 0.05)
    old = REQUEST._replace(time=NOW - datetime.timedelta(days=91))
    store(database, *[REQUEST] * 9, old, old, REQUEST)
    log = RequestLog(database)
    while kept(database) != [REQUEST]:  # at the start
        time.sleep(0.01)
    store(database, old)
    while kept(database) != [REQUEST]:  # and again
        time.sleep(0.01)
    log.close()


def test_a_failure_to_delete_old_rows_loses_nothing(database, caplog, monkeypatch):
    monkeypatch.setattr(module, "delete", lambda table: text("nonsense"))
    monkeypatch.setattr(module, "PRUNE_INTERVAL_SECONDS", 0)
    log = RequestLog(database)
    log.record(REQUEST)
    log.close()
    assert kept(database) == [REQUEST]
    assert "request log: old requests were not deleted: " in caplog.text
    assert "lost" not in caplog.text


def test_an_unexpected_failure_does_not_end_the_log(database, caplog, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(database, "writing", lambda: 1 / 0)
        log = RequestLog(database)
        log.record(REQUEST)
        while "lost 1 requests" not in caplog.text:
            time.sleep(0.01)
    log.record(REQUEST)
    log.close()
    assert kept(database) == [REQUEST]


def test_a_failing_database_loses_log_rows_only(database, caplog):
    log = RequestLog(database)
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE requests RENAME TO elsewhere")
    with caplog.at_level(logging.WARNING):
        log.record(REQUEST)
        log.close()
    assert "request log: lost 1 requests: " in caplog.text


def test_a_request_that_cannot_be_stored_loses_its_batch_only(database, caplog, monkeypatch):
    monkeypatch.setattr(module, "BATCH_SECONDS", 0)
    log = RequestLog(database)
    log.record(REQUEST._replace(route=None))
    while not caplog.records:
        time.sleep(0.01)
    log.record(REQUEST)
    log.close()
    assert kept(database) == [REQUEST]


def test_closing_does_not_wait_long_for_a_slow_database(database, caplog, monkeypatch):
    monkeypatch.setattr(module, "BATCH_SECONDS", 1.0)
    log = RequestLog(database)
    log.record(REQUEST)
    log.close(seconds=0.1)
    assert caplog.messages == ["request log: ends with requests that are not stored, the database is too slow"]
    log.close()
    assert kept(database) == [REQUEST]


def test_a_log_that_cannot_keep_up_drops(database, caplog, monkeypatch):
    monkeypatch.setattr(module, "MAX_QUEUED", 2)
    log = RequestLog(database)
    for _ in range(9):
        log.record(REQUEST)
    log.close()
    assert 2 <= len(kept(database)) < 9
    assert "dropped request one" in caplog.text
