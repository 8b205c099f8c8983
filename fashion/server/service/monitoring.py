"""What is recorded of each request: a JSON log line, a row in the database, and metrics."""

import contextlib
import dataclasses
import http
import os
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any, cast

import structlog
from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from fashion.server.storage.request_log import LoggedRequest, RequestLog
from fashion.server.storage.tables import utc_now

METHODS = frozenset(http.HTTPMethod)  # a client may invent others, each of which would be a time series for ever
SAFE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

log = structlog.get_logger("fashion.server")


class Metrics:
    """Prometheus metrics of this process; with ``PROMETHEUS_MULTIPROC_DIR`` set, of all processes together."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("fashion_requests", "Requests answered.", ["route", "method", "status"], **own)
        self.seconds = Histogram(
            "fashion_request_seconds",
            "Time from receiving a request's head to its response.",
            ["route"],
            buckets=SECONDS_BUCKETS,
            **own,
        )
        self.stage_seconds = Histogram(
            "fashion_stage_seconds", "Duration of one stage of a prediction.", ["stage"], buckets=SECONDS_BUCKETS, **own
        )
        self.predictions = Counter("fashion_predictions", "Images classified.", ["predicted_class"], **own)
        self.confidence = Histogram(
            "fashion_confidence", "Probability of the predicted class.", buckets=CONFIDENCE_BUCKETS, **own
        )
        self.abstentions = Counter("fashion_abstentions", "Images on which the model abstained.", **own)
        self.unavailable = Counter("fashion_unavailable", "Requests answered 503.", ["route", "reason"], **own)
        self.log_lines_dropped = Counter(
            "fashion_log_lines_dropped", "Log lines dropped because standard error could not be written.", **own
        )
        self.login_failures = Counter("fashion_login_failures", "Requests with a wrong password or token.", **own)
        self.queue_length = Gauge(
            "fashion_queue_length", "Predictions being computed or waiting.", multiprocess_mode="livesum", **own
        )

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


@dataclasses.dataclass
class LogContext:
    """What is recorded of a prediction beside its request; the fields of ``LoggedRequest``, left out while None."""

    decode_ms: float | None = None
    preprocess_ms: float | None = None
    picture_sha256: str | None = None
    infer_ms: float | None = None
    predicted_class: str | None = None
    confidence: float | None = None
    decision: str | None = None

    def known(self) -> dict[str, Any]:
        """Return the fields that are set."""
        return {name: value for name, value in vars(self).items() if value is not None}


def log_context() -> LogContext:
    """Return the log context of the current request."""
    return cast(LogContext, g.log_context)


class Monitor:
    """Follows each request from its head to its response.

    Args:
        metrics: Where requests are counted.
        request_log: Where they are stored.
    """

    def __init__(self, metrics: Metrics, request_log: RequestLog) -> None:
        self.metrics = metrics
        self.request_log = request_log

    def init_app(self, app: Flask) -> None:
        """Follow every request of an application."""
        app.before_request(self._begin)
        app.after_request(self._end)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage of a prediction, ``decode``, ``preprocess`` or ``infer``; summed over a request's images."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self.metrics.stage_seconds.labels(name).observe(seconds)
            context, key = log_context(), f"{name}_ms"
            setattr(context, key, round((getattr(context, key) or 0) + _milliseconds(seconds), 3))

    def count_classification(self, predicted_class: str, confidence: float, decision: str) -> None:
        """Count a classified image."""
        self.metrics.predictions.labels(predicted_class).inc()
        self.metrics.confidence.observe(confidence)
        if decision == "abstain":
            self.metrics.abstentions.inc()

    def _begin(self) -> None:
        """Give the request an id: the client's own, if it is safe in a log and in a header."""
        g.started = time.perf_counter()
        sent = request.headers.get("X-Request-ID", "")
        g.request_id = sent if SAFE_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        g.log_context = LogContext()

    def _end(self, response: Response) -> Response:
        """Record the request: never credentials, nor text from the client."""
        seconds = time.perf_counter() - g.started
        route = request.url_rule.rule if request.url_rule else "(none)"
        method = request.method if request.method in METHODS else "(other)"
        response.headers["X-Request-ID"] = g.request_id
        self.metrics.requests.labels(route, method, response.status_code).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if "unavailable" in g:
            self.metrics.unavailable.labels(route, g.unavailable).inc()
        account, context = g.get("account"), log_context()
        log.info(
            "request",
            request_id=g.request_id,
            address=request.remote_addr,
            account=account,
            method=method,
            route=route,
            status=response.status_code,
            ms=_milliseconds(seconds),
            **context.known(),
        )
        if context.picture_sha256 is not None or account is not None or "login_failed" in g:
            self.request_log.record(
                LoggedRequest(utc_now(), g.request_id, account, route, response.status_code, **context.known())
            )
        return response


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
