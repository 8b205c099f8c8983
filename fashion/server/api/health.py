"""Liveness, readiness and metrics."""

from typing import Literal

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from fashion.server.api.body import Body
from fashion.server.api.open_inference import MODEL, VERSION, refuse_other_model
from fashion.server.security.authentication import is_local_request
from fashion.server.services import services

blueprint = Blueprint("health", __name__)


class Live(Body):
    """The process is alive."""

    status: Literal["live"]


class Ready(Body):
    """The server is ready to answer predictions."""

    status: Literal["ready"]


class ProtocolLive(Body):
    """The process is alive, in the form of the Open Inference Protocol."""

    live: Literal[True]


class ProtocolReady(Body):
    """The server is ready, in the form of the Open Inference Protocol."""

    ready: Literal[True]


@blueprint.get("/livez")
def livez() -> Response:
    """Answer that the process is alive."""
    return Live(status="live").response()


@blueprint.get("/readyz")
def readyz() -> Response:
    """Answer whether predictions are served.

    They are not until the model is loaded and warm, while the process is stopping, or while log-ins cannot be verified.
    """
    services().readiness.require()
    return Ready(status="ready").response()


@blueprint.get("/v2/health/live")
def v2_live() -> Response:
    """Answer that the process is alive."""
    return ProtocolLive(live=True).response()


@blueprint.get("/v2/health/ready")
@blueprint.get(f"/v2{MODEL}/ready")
@blueprint.get(f"/v2{VERSION}/ready")
def v2_ready(name: str | None = None, version: str | None = None) -> Response:
    """Answer whether predictions are served."""
    refuse_other_model(name, version)
    services().readiness.require()
    return ProtocolReady(ready=True).response()


@blueprint.get("/metrics")
def metrics() -> Response:
    """Return the metrics to this machine, and to any account."""
    if not is_local_request():
        services().authentication.identify()
    return Response(services().monitor.metrics.exposition(), content_type=CONTENT_TYPE_LATEST)
