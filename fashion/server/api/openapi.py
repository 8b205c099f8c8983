"""``GET /openapi.json``: the API described by OpenAPI 3.1, from the models that the views use."""

import functools
from typing import Any, NamedTuple

import flask
import pydantic
from flask import Blueprint, Response, jsonify
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from fashion.preprocessing.formats import accepted
from fashion.server.api.body import Body
from fashion.server.api.compression import FORMATS
from fashion.server.api.health import Live, ProtocolLive, ProtocolReady, Ready
from fashion.server.api.open_inference import BINARY, JSON, ModelConfig, ModelMetadata, ServerMetadata
from fashion.server.api.platform import IMAGE_TYPES, InstancesRequest, PredictionsResponse
from fashion.server.api.predict import BatchResponse, PredictResponse
from fashion.server.api.tensors import JSON_LENGTH_HEADER, InferenceRequest, InferenceResponse, tensor_shapes
from fashion.server.environment import PlatformRoutes
from fashion.server.problems import PROBLEM, ProblemResponse, ProtocolError
from fashion.server.service.served_model import ServedModel
from fashion.server.service.upload_form import FIELD, FORM
from fashion.server.services import services
from fashion.server.settings import MAX_BATCH_FILES

blueprint = Blueprint("openapi", __name__)

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"
SECURITY: list[dict[str, list[str]]] = [{"basic": []}, {"bearer": []}]
PROBLEMS = {
    400: "Malformed request.",
    401: "No valid password or token.",
    403: "Sent by another site's page, or with the default password through a proxy or to another name than localhost.",
    404: "The model is not served, or not in this version.",
    408: "The request did not arrive in time.",
    413: "The body is too large, or has too many parts.",
    415: "The body, or a file in it, is of an unsupported type.",
    422: "The image is damaged, an animation, or too large.",
    429: "Too many failed log-ins.",
    503: "The model or the storage is not available, or too many requests are waiting.",
}
CLASSIFICATION_PROBLEMS = (400, 401, 403, 408, 413, 415, 422, 429, 503)
PLATFORM_PROBLEMS = (400, 403, 408, 413, 415, 422, 503)
INFERENCE_PROBLEMS = (400, 401, 403, 408, 413, 415, 429, 503)
IMAGE: Schema = {"type": "string", "contentMediaType": BINARY, "description": f"{accepted()}."}
TENSORS: Schema = {
    "type": "string",
    "contentMediaType": BINARY,
    "description": "JSON, and the tensors' bytes after it.",
}
IMAGES: Schema = {"type": "array", "items": IMAGE, "minItems": 1, "maxItems": MAX_BATCH_FILES}
PREVIEW: Schema = {
    "name": "preview",
    "in": "query",
    "description": "1 adds the pixels that the model saw.",
    "schema": {"type": "string"},
}
JSON_LENGTH: Schema = {
    "name": JSON_LENGTH_HEADER,
    "in": "header",
    "description": "The length of the JSON in bytes, where tensors' bytes follow it.",
    "schema": {"type": "integer", "minimum": 1},
}
COMPRESSION: Schema = {
    "name": "Content-Encoding",
    "in": "header",
    "description": "How the body is compressed.",
    "schema": {"enum": ["identity", *FORMATS]},
}


class Success(NamedTuple):
    """A successful response: what it is, and its body's model, or its media type where it is not JSON.

    ``tensors`` says that the body may also be JSON with tensors' bytes after it.
    """

    description: str
    body: type[Body] | str
    tensors: bool = False


class SchemaGenerator(GenerateJsonSchema):
    """Generates schemas without titles derived from names, and without defaults for members that are left out."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """Set no title."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Mention no default of None."""
        described = super().default_schema(schema)
        return {key: value for key, value in described.items() if (key, value) != ("default", None)}


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Describe the API; on a sub-path, with the address that its paths are relative to."""
    described = document(services().model, services().platform_routes)
    if flask.request.root_path:
        described = {**described, "servers": [{"url": flask.request.root_path}]}
    return jsonify(described)


@functools.cache
def document(model: ServedModel, routes: PlatformRoutes | None) -> Schema:
    """Return the description for a served model, and the paths that a platform asks."""
    name, version = (
        {"name": key, "in": "path", "required": True, "schema": {"enum": [value]}}
        for key, value in (("name", model.name), ("version", model.version))
    )
    paths = {
        "/": {"get": operation("The web page", Success("The web page.", "text/html"))},
        "/predict": {
            "post": operation(
                "Classify one image",
                Success("The classification.", PredictResponse),
                problems=CLASSIFICATION_PROBLEMS,
                request={FORM: _form(IMAGE)},
                parameters=[PREVIEW],
            )
        },
        "/predict/batch": {
            "post": operation(
                "Classify several images",
                Success("A classification or a problem for each image.", BatchResponse),
                problems=CLASSIFICATION_PROBLEMS,
                request={FORM: _form(IMAGES)},
            )
        },
        "/livez": {"get": operation("Whether the process is alive", Success("The process is alive.", Live))},
        "/readyz": {
            "get": operation("Whether the server is ready", Success("The server is ready.", Ready), problems=(503,))
        },
        "/metrics": {
            "get": operation(
                "Prometheus metrics, without a log-in only from the server's own machine",
                Success("The metrics.", "text/plain"),
                problems=(401, 403, 429, 503),
                security=[{}, *SECURITY],
            )
        },
        "/openapi.json": {"get": operation("This document", Success("The OpenAPI document.", JSON))},
        "/v2": {"get": operation("Server metadata", Success("The server metadata.", ServerMetadata))},
        "/v2/health/live": {
            "get": operation("Whether the process is alive", Success("The process is alive.", ProtocolLive))
        },
        "/v2/health/ready": {
            "get": operation(
                "Whether the server is ready",
                Success("The server is ready.", ProtocolReady),
                problems=(503,),
                error=ProtocolError,
            )
        },
        **_of_the_model("/v2/models/{name}", [name]),
        **_of_the_model("/v2/models/{name}/versions/{version}", [name, version]),
    }
    if routes is not None:
        for path, described in _of_the_platform(routes).items():
            paths[path] = {**paths.get(path, {}), **described}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{model.card.data.title} classifier",
            "version": "1",
            "description": f"Classifies images into the {len(model.classes)} classes of {model.card.data.title}.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(model),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def operation(
    summary: str,
    answer: Success,
    *,
    problems: tuple[int, ...] = (),
    request: dict[str, Schema] | None = None,
    parameters: list[Schema] | None = None,
    security: list[dict[str, list[str]]] | None = None,
    error: type[pydantic.BaseModel] = ProblemResponse,
) -> Schema:
    """Return an OpenAPI operation object.

    Args:
        summary: What it does.
        answer: Its response with status 200.
        problems: Statuses of its error responses.
        request: Media types and schemas of the request's body; with one, the operation needs a log-in.
        parameters: Parameters in the path, the query and the headers.
        security: What it needs of a log-in, if it has no body.
        error: The model of its error responses.
    """
    if isinstance(answer.body, str):
        content = {answer.body: {"schema": {"type": "object" if answer.body == JSON else "string"}}}
    else:
        content = {JSON: {"schema": _reference(answer.body)}}
    if answer.tensors:
        content[BINARY] = {"schema": TENSORS}
    failure = {PROBLEM if error is ProblemResponse else JSON: {"schema": _reference(error)}}
    described: Schema = {
        "summary": summary,
        "responses": {
            "200": {"description": answer.description, "content": content},
            **{str(status): {"description": PROBLEMS[status], "content": failure} for status in problems},
        },
    }
    if request is not None:
        contents = {media_type: {"schema": schema} for media_type, schema in request.items()}
        described["requestBody"] = {"required": True, "content": contents}
        described["security"] = SECURITY
    if parameters:
        described["parameters"] = parameters
    if security:
        described["security"] = security
    return described


def _of_the_model(path: str, parameters: list[Schema]) -> dict[str, Schema]:
    """Return the paths of the Open Inference Protocol about the model, or about one version of it."""
    described = functools.partial(operation, parameters=parameters, error=ProtocolError)
    return {
        path: {"get": described("Model metadata", Success("The model metadata.", ModelMetadata), problems=(404,))},
        f"{path}/ready": {
            "get": described(
                "Whether the model is ready", Success("The model is ready.", ProtocolReady), problems=(404, 503)
            )
        },
        f"{path}/config": {
            "get": described(
                "Triton's model configuration", Success("The configuration.", ModelConfig), problems=(404,)
            )
        },
        f"{path}/infer": {
            "post": described(
                "Compute class probabilities",
                Success("Class probabilities.", InferenceResponse, tensors=True),
                problems=(404, *INFERENCE_PROBLEMS),
                request={JSON: _reference(InferenceRequest), BINARY: TENSORS},
                parameters=[*parameters, JSON_LENGTH, COMPRESSION],
            )
        },
    }


def _of_the_platform(routes: PlatformRoutes) -> dict[str, Schema]:
    """Return the paths that a platform asks, which need no log-in; both may be the same."""
    health = operation("Whether the server is ready", Success("The server is ready.", Ready), problems=(503,))
    predict = operation(
        "Classify an image, or several in JSON, for the platform",
        Success("The classification; in JSON, a classification or a problem for each image.", PredictionsResponse),
        problems=PLATFORM_PROBLEMS,
        request={
            JSON: {"anyOf": [_reference(InstancesRequest), _reference(InferenceRequest)]},
            **dict.fromkeys(IMAGE_TYPES, IMAGE),
        },
    )
    predict["security"] = [{}]
    answers = [_reference(body) for body in (PredictResponse, PredictionsResponse, InferenceResponse)]
    predict["responses"]["200"]["content"][JSON]["schema"] = {"anyOf": answers}
    described: dict[str, Schema] = {routes.health: {"get": health}}
    described[routes.predict] = {**described.get(routes.predict, {}), "post": predict}
    return described


def _form(schema: Schema) -> Schema:
    return {"type": "object", "properties": {FIELD: schema}, "required": [FIELD]}


def _reference(model: type[pydantic.BaseModel]) -> Schema:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _schemas(model: ServedModel) -> Schema:
    """Return the schemas of all bodies by name, with the name, the classes and the input of the served model."""
    models: list[type[pydantic.BaseModel]] = [
        *(PredictResponse, BatchResponse, Live, Ready, ProtocolLive, ProtocolReady),
        PredictionsResponse,
        *(ServerMetadata, ModelMetadata, ModelConfig, InferenceResponse, ProblemResponse, ProtocolError),
    ]
    _, definitions = models_json_schema(
        [
            *[(model, "serialization") for model in models],
            *[(model, "validation") for model in (InferenceRequest, InstancesRequest)],
        ],
        ref_template=REFERENCE,
        schema_generator=SchemaGenerator,
    )
    schemas: dict[str, Schema] = definitions["$defs"]
    schemas["ModelName"]["const"] = model.name
    schemas["ClassName"]["enum"] = list(model.classes)
    schemas["ClassIndex"]["maximum"] = len(model.classes) - 1
    schemas["Probabilities"]["required"] = list(model.classes)
    schemas["InputTensor"]["properties"]["shape"]["description"] = " or ".join(
        f"{datatype} {shape}" for datatype, shape in tensor_shapes(model.input.shape).items()
    )
    return schemas
