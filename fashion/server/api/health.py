"""Whether the process lives, whether it can answer, and what it has done."""

import ipaddress

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import ServiceUnavailable

from fashion.server.api.predict import served_model
from fashion.server.security.authentication import identify, passed_on
from fashion.server.service.monitoring import monitor
from fashion.server.service.served_model import LOADING_SECONDS

blueprint = Blueprint("health", __name__)


@blueprint.get("/livez")
def livez() -> Response:
    """Say that the process answers."""
    return jsonify(status="live")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Say whether predictions are answered: not before the model is loaded and warm, nor once the process ends."""
    _refuse_unless_ready()
    return jsonify(status="ready")


@blueprint.get("/v2/health/live")
def v2_live() -> Response:
    """Say that the process answers, as the Open Inference Protocol asks."""
    return jsonify(live=True)


@blueprint.get("/v2/health/ready")
@blueprint.get("/v2/models/fashion_mnist/ready")
def v2_ready() -> Response:
    """Say whether predictions are answered, as the Open Inference Protocol asks."""
    _refuse_unless_ready()
    return jsonify(ready=True)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Show the metrics to this machine, and elsewhere to accounts."""
    if passed_on() or not ipaddress.ip_address(request.remote_addr or "0.0.0.0").is_loopback:
        identify()
    return Response(monitor().metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


def _refuse_unless_ready() -> None:
    if not served_model().ready:
        raise ServiceUnavailable("The model is not ready.", retry_after=LOADING_SECONDS)
