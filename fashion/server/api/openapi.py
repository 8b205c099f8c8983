"""The API described for programs: ``GET /openapi.json`` (OpenAPI 3.1)."""

import functools
from typing import Any

from flask import Blueprint, Response, jsonify

from fashion.server.api.open_inference import INPUT, MOST_IMAGES, OUTPUT
from fashion.server.api.predict import served_model
from fashion.server.problems import PROBLEM
from fashion.server.service.served_model import NAME
from fashion.server.service.uploads import FIELD, FORM
from fashion.server.settings import MOST_BATCH_FILES

blueprint = Blueprint("openapi", __name__)

SECURITY: list[dict[str, list[str]]] = [{"basic": []}, {"bearer": []}]
PROBLEMS = {
    400: "The request makes no sense.",
    401: "No known user or token.",
    403: "The request comes from another site, from an old page, or with the default password through a proxy.",
    408: "The request did not arrive in time.",
    413: "The body is too large, or has too many parts.",
    415: "The body, or a file in it, is of a kind that is not read.",
    422: "The picture is damaged, an animation, or too large.",
    429: "Too many failed log-ins.",
    503: "The model or the database is not ready, or too many requests wait.",
}


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Describe the API."""
    return jsonify(document(tuple(served_model().classes)))


@functools.cache
def document(classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the description, for a model with these classes."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    prediction = {
        "predicted_class": {"enum": list(classes)},
        "class_index": {"type": "integer", "minimum": 0, "maximum": len(classes) - 1},
        "confidence": share,
        "probabilities": _object(dict.fromkeys(classes, share)),
        "also_likely": {**_array({"enum": list(classes)}), "description": "At least half as likely as the answer."},
        "decision": {"enum": ["accept", "abstain"]},
        "preprocessing": _object({"steps": _array({"type": "string"})}),
    }
    number = {"type": "number"}
    about_abstention = "How unlike the training images it is; above the threshold the model abstains."
    told = {"abstention": {**_object({"score": number, "threshold": number}), "description": about_abstention}}
    about = {"model": _object({"name": {"const": NAME}, "version": _TEXT}), "request_id": _TEXT}
    preview = {"preview": {"type": "string", "description": "The 28 x 28 pixels that the model saw: a PNG data URL."}}
    picture = {"type": "string", "contentMediaType": "application/octet-stream"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fashion", "version": "1", "description": "Names the class of a piece of clothing."},
        "paths": {
            "/": {"get": _operation("The form", {200: ("The form.", "text/html", _TEXT)})},
            "/predict": {
                "post": _operation(
                    "Classify one picture",
                    {
                        200: (
                            "What it is.",
                            "application/json",
                            _object({**prediction, **about}, optional={**told, **preview}),
                        )
                    },
                    problems=tuple(PROBLEMS),
                    body=(FORM, _object({FIELD: picture})),
                    parameters=[
                        {
                            "name": "preview",
                            "in": "query",
                            "description": "1 adds what the model saw.",
                            "schema": {"type": "string"},
                        }
                    ],
                )
            },
            "/predict/batch": {
                "post": _operation(
                    "Classify several pictures",
                    {
                        200: (
                            "A result or a problem for each, in their order.",
                            "application/json",
                            _object(
                                {
                                    "results": _array(
                                        {
                                            "anyOf": [
                                                _object(prediction, told),
                                                _object({"problem": _PROBLEM_SCHEMA}),
                                            ]
                                        }
                                    ),
                                    **about,
                                }
                            ),
                        )
                    },
                    problems=tuple(PROBLEMS),
                    body=(FORM, _object({FIELD: _array(picture, minItems=1, maxItems=MOST_BATCH_FILES)})),
                )
            },
            "/livez": {"get": _operation("Is it alive?", {200: _json("Yes.", {"status": {"const": "live"}})})},
            "/readyz": {
                "get": _operation(
                    "Does it answer?", {200: _json("Yes.", {"status": {"const": "ready"}})}, problems=(503,)
                )
            },
            "/metrics": {
                "get": _operation(
                    "Prometheus metrics; without a log-in from this machine only",
                    {200: ("The metrics.", "text/plain", _TEXT)},
                    problems=(401, 403, 429, 503),
                    security=[{}, *SECURITY],
                )
            },
            "/openapi.json": {"get": _operation("This document", {200: _json("It.", {"openapi": _TEXT})})},
            "/v2": {
                "get": _operation(
                    "Server metadata",
                    {200: _json("It.", {"name": _TEXT, "version": _TEXT, "extensions": _array(_TEXT)})},
                )
            },
            "/v2/health/live": {"get": _operation("Is it alive?", {200: _json("Yes.", {"live": {"const": True}})})},
            "/v2/health/ready": {"get": _v2_ready()},
            f"/v2/models/{NAME}/ready": {"get": _v2_ready()},
            f"/v2/models/{NAME}": {
                "get": _operation(
                    "Model metadata",
                    {
                        200: _json(
                            "It.",
                            {
                                "name": {"const": NAME},
                                "versions": _array(_TEXT),
                                "platform": _TEXT,
                                "inputs": _array(_TENSOR),
                                "outputs": _array(_TENSOR),
                            },
                        )
                    },
                )
            },
            f"/v2/models/{NAME}/infer": {
                "post": _operation(
                    "Compute probabilities",
                    {200: _json("They.", _INFERENCE, optional={"id": _TEXT})},
                    problems=(400, 401, 403, 408, 413, 415, 429, 503),
                    body=("application/json", _INFERENCE_REQUEST),
                    error=("application/json", _object({"error": _TEXT})),
                )
            },
        },
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            }
        },
    }


def _object(properties: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**properties, **(optional or {})}, "required": list(properties)}


def _array(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **limits}


def _json(description: str, properties: dict[str, Any], optional: dict[str, Any] | None = None) -> tuple[str, str, Any]:
    return description, "application/json", _object(properties, optional)


def _operation(
    summary: str,
    answers: dict[int, tuple[str, str, dict[str, Any]]],
    *,
    problems: tuple[int, ...] = (),
    body: tuple[str, dict[str, Any]] | None = None,
    parameters: list[dict[str, Any]] | None = None,
    security: list[dict[str, list[str]]] | None = None,
    error: tuple[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    error_type, error_schema = error or (PROBLEM, _PROBLEM_SCHEMA)
    contents = answers | {status: (PROBLEMS[status], error_type, error_schema) for status in problems}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            str(status): {"description": text, "content": {kind: {"schema": schema}}}
            for status, (text, kind, schema) in contents.items()
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {body[0]: {"schema": body[1]}}}
        operation["security"] = SECURITY
    if parameters:
        operation["parameters"] = parameters
    if security:
        operation["security"] = security
    return operation


def _v2_ready() -> dict[str, Any]:
    return _operation(
        "Does it answer?",
        {200: _json("Yes.", {"ready": {"const": True}})},
        problems=(503,),
        error=("application/json", _object({"error": _TEXT})),
    )


_TEXT = {"type": "string"}
_PROBLEM_SCHEMA = _object(
    {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT},
    optional={"request_id": {"type": ["string", "null"]}},
)
_SHAPE = _array({"type": "integer"})
_TENSOR = _object({"name": _TEXT, "datatype": {"enum": ["FP32", "UINT8"]}, "shape": _SHAPE})
_INFERENCE = {
    "model_name": {"const": NAME},
    "model_version": _TEXT,
    "outputs": _array(
        _object(
            {
                "name": {"const": OUTPUT},
                "datatype": {"const": "FP32"},
                "shape": _SHAPE,
                "data": _array({"type": "number"}),
            }
        )
    ),
}
_INFERENCE_REQUEST = _object(
    {
        "inputs": _array(
            _object(
                {
                    "name": {"const": INPUT},
                    "shape": {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 1, "maximum": MOST_IMAGES},
                        "minItems": 3,
                        "maxItems": 4,
                    },
                    "datatype": {"enum": ["FP32", "UINT8"]},
                    "data": {"type": "array", "description": "FP32 0 to 1, UINT8 0 to 255; nested or flat."},
                }
            ),
            minItems=1,
            maxItems=1,
        )
    },
    optional={
        "id": {"type": ["string", "null"], "maxLength": 256},
        "outputs": {"type": ["array", "null"], "items": _object({"name": {"const": OUTPUT}})},
    },
)
