"""What is told of each request: one JSON line, one row in the database, and the metrics."""

import contextlib
import datetime
import os
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import prometheus_client
import structlog
from flask import Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from fashion.server.storage.request_log import Request, RequestLog

SAFE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

prometheus_client.disable_created_metrics()

log = structlog.get_logger("fashion.server")


class Metrics:
    """Prometheus metrics of this process; with ``PROMETHEUS_MULTIPROC_DIR`` set, of all processes together."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("fashion_requests", "Requests answered.", ["route", "method", "status"], **own)
        self.seconds = Histogram(
            "fashion_request_seconds", "Time from the request's head to its answer.", ["route"], buckets=SECONDS, **own
        )
        self.stage_seconds = Histogram(
            "fashion_stage_seconds", "Time of one stage of a prediction.", ["stage"], buckets=SECONDS, **own
        )
        self.predictions = Counter("fashion_predictions", "Pictures classified.", ["predicted_class"], **own)
        self.confidence = Histogram("fashion_confidence", "Probability of the answer.", buckets=SHARES, **own)
        self.abstentions = Counter("fashion_abstentions", "Pictures the model was not sure of.", **own)
        self.login_failures = Counter("fashion_login_failures", "Requests with a wrong password or token.", **own)
        self.queue_length = Gauge(
            "fashion_queue_length", "Predictions that are computed or wait for it.", multiprocess_mode="livesum", **own
        )

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)


class Monitor:
    """Follows each request from its head to its answer.

    Args:
        metrics: Where it is counted.
        request_log: Where it is kept.
    """

    def __init__(self, metrics: Metrics, request_log: RequestLog) -> None:
        self.metrics = metrics
        self._request_log = request_log

    def begin(self) -> None:
        """Give the request its number: the client's own, if it is harmless in a log and in a header."""
        g.started = time.perf_counter()
        sent = request.headers.get("X-Request-ID", "")
        g.request_id = sent if SAFE_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        g.told = {}

    def end(self, response: Response) -> Response:
        """Tell of the request and its answer: never of credentials, or of names that the client made up."""
        seconds = time.perf_counter() - g.started
        route = request.url_rule.rule if request.url_rule else "(none)"
        response.headers["X-Request-ID"] = g.request_id
        self.metrics.requests.labels(route, request.method, response.status_code).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        account = g.get("account")
        log.info(
            "request",
            request_id=g.request_id,
            address=request.remote_addr,
            account=account,
            method=request.method,
            route=route,
            status=response.status_code,
            ms=_milliseconds(seconds),
            **g.told,
        )
        if "picture_sha256" in g.told or account is not None or "login_failed" in g:
            self._request_log.record(
                Request(
                    datetime.datetime.now(datetime.UTC), g.request_id, account, route, response.status_code, **g.told
                )
            )
        return response

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure one stage of a prediction: ``decode``, ``preprocess`` or ``infer``; of several pictures, the sum."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self.metrics.stage_seconds.labels(name).observe(seconds)
            key = f"{name}_ms"
            g.told[key] = round(g.told.get(key, 0) + _milliseconds(seconds), 3)

    def classified(self, predicted_class: str, confidence: float, decision: str) -> None:
        """Count a picture that got its class."""
        self.metrics.predictions.labels(predicted_class).inc()
        self.metrics.confidence.observe(confidence)
        if decision == "abstain":
            self.metrics.abstentions.inc()


def init_app(app: Flask, monitor: Monitor) -> None:
    """Follow every request of an application."""
    app.extensions["monitor"] = monitor
    app.before_request(monitor.begin)
    app.after_request(monitor.end)


def monitor() -> Monitor:
    """Return the monitor of the current application."""
    return current_app.extensions["monitor"]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
