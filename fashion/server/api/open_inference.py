"""The Open Inference Protocol, version 2, over REST, so that its existing clients work.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from flask import Blueprint, Response, request
from pydantic import Field
from werkzeug.exceptions import NotFound, RequestEntityTooLarge, UnsupportedMediaType

from fashion.preprocessing.model_input import ModelInput
from fashion.server.access import login_required
from fashion.server.api import compression
from fashion.server.api.body import Body, ModelName
from fashion.server.api.tensors import (
    JSON_LENGTH_HEADER,
    InferenceResponse,
    InputName,
    OutputName,
    json_length,
    max_images,
    output_tensor,
    parse,
    too_large,
)
from fashion.server.services import services

blueprint = Blueprint("v2", __name__, url_prefix="/v2")

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration"]  # of Triton
MODEL, VERSION = "/models/<name>", "/models/<name>/versions/<version>"
JSON, BINARY = "application/json", "application/octet-stream"
# Triton's clients send no Content-Type, or application/octet-stream, whether or not bytes follow the JSON.
BODY_TYPES = {JSON, BINARY, ""}
LARGE_BODY_BYTES = 512 * 1024  # of JSON, which takes up to forty times as much memory once it is parsed


class ServerMetadata(Body):
    """The server's name and the protocol's version."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Body):
    """A tensor's name, type and shape; -1 is any number of images."""

    name: InputName | OutputName
    datatype: Literal["FP32"]
    shape: list[int]


class ModelMetadata(Body):
    """The model's inputs and outputs."""

    name: ModelName
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(Body):
    """A tensor as Triton's model configuration describes it, without the number of images."""

    name: InputName | OutputName
    data_type: Literal["TYPE_FP32"]
    dims: list[int]


class ModelConfig(Body):
    """What Triton's clients read of its model configuration."""

    name: ModelName
    platform: str
    max_batch_size: Annotated[int, Field(ge=1)]
    input: list[TensorConfig]
    output: list[TensorConfig]


@blueprint.get("")
def server_metadata() -> Response:
    """Describe the server."""
    return ServerMetadata(name="fashion", version="2", extensions=EXTENSIONS).response()


@blueprint.get(MODEL)
@blueprint.get(VERSION)
def model_metadata(name: str, version: str | None = None) -> Response:
    """Describe the model's inputs and outputs."""
    refuse_other_model(name, version)
    model = services().model
    return ModelMetadata(
        name=model.name,
        versions=[model.version],
        platform=model.platform,
        inputs=[TensorMetadata(name="images", datatype="FP32", shape=[-1, *model.input.shape])],
        outputs=[TensorMetadata(name="probabilities", datatype="FP32", shape=[-1, len(model.classes)])],
    ).response()


@blueprint.get(f"{MODEL}/config")
@blueprint.get(f"{VERSION}/config")
def model_config(name: str, version: str | None = None) -> Response:
    """Describe the model as Triton's model configuration does."""
    refuse_other_model(name, version)
    model = services().model
    return ModelConfig(
        name=model.name,
        platform=model.platform,
        max_batch_size=max_images(model.input.shape),
        input=[TensorConfig(name="images", data_type="TYPE_FP32", dims=list(model.input.shape))],
        output=[TensorConfig(name="probabilities", data_type="TYPE_FP32", dims=[len(model.classes)])],
    ).response()


@blueprint.post(f"{MODEL}/infer")
@blueprint.post(f"{VERSION}/infer")
@login_required
def model_infer(name: str, version: str | None = None) -> Response:
    """Compute the class probabilities of images."""
    refuse_other_model(name, version)
    if request.mimetype not in BODY_TYPES:
        raise UnsupportedMediaType(f"The body must be {JSON}, or {BINARY} with tensors as bytes after the JSON.")
    with _limit_explained():
        received = request.get_data(cache=False)
    return infer(received)


def infer(received: bytes) -> Response:
    """Answer the current request for the class probabilities of tensors.

    Args:
        received: Its body.

    Raises:
        HTTPException: If the body is malformed, or too many requests are waiting.
    """
    model, admission = services().model, services().admission
    with admission.admit():
        with admission.decode_slot():
            with _limit_explained():
                body = compression.decompressed(received)
            length = json_length(request.headers.get(JSON_LENGTH_HEADER), body)
            with admission.large_image_slot(length > LARGE_BODY_BYTES):
                asked = parse(body[:length], body[length:], model.input.shape)
        results = services().classifier.classify([ModelInput(image, ()) for image in asked.images])
    probabilities = np.array([list(result.probabilities.values()) for result in results], np.float32)
    output, binary = output_tensor(probabilities, model.classes, asked.output)
    answer = InferenceResponse(model_name=model.name, model_version=model.version, outputs=[output], id=asked.id)
    response = answer.response()
    if binary:
        response.headers[JSON_LENGTH_HEADER] = str(len(response.data))
        response.data, response.mimetype = response.data + binary, BINARY
    return compression.compress(response)


@contextlib.contextmanager
def _limit_explained() -> Iterator[None]:
    try:
        yield
    except RequestEntityTooLarge:
        raise too_large(services().model.input.shape) from None


def refuse_other_model(name: str | None, version: str | None) -> None:
    """Refuse a request for another model, or another version of it, than the one that is served; None is that one.

    Raises:
        NotFound: If it is another.
    """
    served = services().model
    if name not in {None, served.name}:
        raise NotFound(f"The only model that is served is {served.name}.")
    if version not in {None, served.version}:
        raise NotFound(f"The model is served in version {served.version} only.")
