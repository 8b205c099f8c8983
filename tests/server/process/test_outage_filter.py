"""An outage is one log line a minute, however many requests it fails."""

import logging

import pytest

from fashion.server.process import outage_filter
from fashion.server.process.outage_filter import INTERVAL_SECONDS, OutageFilter


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(outage_filter.time, "monotonic", lambda: now[0])
    return now


def test_one_line_a_minute_with_a_count(clock):
    kept_back = OutageFilter()
    passed = []

    def log(service: str | None, name="problems") -> None:
        record = logging.LogRecord(name, logging.ERROR, "", 0, "request %s: down", ("r-1",), None)
        if service is not None:
            record.outage = service
        if kept_back.filter(record):
            passed.append((service, record.getMessage()))

    for _ in range(5):
        log("redis")
    log("database")
    log("redis", name="another logger")
    log(None)
    log(None)
    assert [service for service, _ in passed] == ["redis", "database", "redis", None, None]
    assert {message for _, message in passed} == {"request r-1: down"}
    passed.clear()
    clock[0] += INTERVAL_SECONDS - 1
    log("redis")
    assert passed == []
    clock[0] += 1
    log("redis")
    log("redis")
    assert passed == [("redis", "request r-1: down (and 5 more like it since the last line)")]
