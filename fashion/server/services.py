"""The services of an application, made once in ``app.py``; views reach them by ``services()``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from flask import Flask, current_app

from fashion.server.environment import PlatformRoutes
from fashion.server.security.authentication import Authentication
from fashion.server.security.session import SessionCookie
from fashion.server.service.admission import AdmissionControl
from fashion.server.service.classify import Classifier
from fashion.server.service.monitoring import Monitor
from fashion.server.service.readiness import Readiness
from fashion.server.service.request_body import UploadRequest
from fashion.server.service.served_model import ServedModel
from fashion.server.storage.database import Database
from fashion.server.storage.prediction_history import PredictionHistory


@dataclass(frozen=True)
class Services:
    """What views work with.

    Attributes:
        model: The served model and its card.
        classifier: Classifies images with it.
        admission: Limits how many requests are processed at the same time.
        monitor: Logs and counts requests.
        readiness: Whether predictions are answered.
        authentication: Authenticates requests.
        session: The session of the current request.
        history: Predictions made on the page.
        platform_routes: The paths that are answered without a log-in for a platform, if for one.
        database: The database of accounts, sessions, requests and predictions.
    """

    model: ServedModel
    classifier: Classifier
    admission: AdmissionControl
    monitor: Monitor
    readiness: Readiness
    authentication: Authentication
    session: SessionCookie
    history: PredictionHistory
    platform_routes: PlatformRoutes | None
    database: Database


class Application(Flask):
    """A Flask application with services."""

    request_class = UploadRequest
    services: Services

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a view or another function as it is: none is asynchronous, and Flask would ask seven a request."""
        return func


def services() -> Services:
    """Return the services of the current application."""
    return cast(Application, current_app).services
