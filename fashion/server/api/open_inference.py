"""The Open Inference Protocol, version 2, over REST, so that its existing clients work.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from typing import Annotated, Literal

import numpy as np
from flask import Blueprint, Response, request
from pydantic import Field
from werkzeug.exceptions import NotFound, UnsupportedMediaType

from fashion.preprocessing.model_input import ModelInput
from fashion.server.access import login_required
from fashion.server.api import compression
from fashion.server.api.body import Body, ModelName
from fashion.server.api.tensors import (
    JSON_LENGTH_HEADER,
    MAX_IMAGES,
    InferenceResponse,
    InputName,
    OutputName,
    json_length,
    output_tensor,
    parse,
)
from fashion.server.service.served_model import NAME
from fashion.server.services import services

blueprint = Blueprint("v2", __name__, url_prefix="/v2")

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration"]  # of Triton
MODEL, VERSION = f"/models/{NAME}", f"/models/{NAME}/versions/<version>"
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
def model_metadata(version: str | None = None) -> Response:
    """Describe the model's inputs and outputs."""
    refuse_other_version(version)
    model = services().model
    return ModelMetadata(
        name=NAME,
        versions=[model.version],
        platform="keras",
        inputs=[TensorMetadata(name="images", datatype="FP32", shape=[-1, *model.input.shape])],
        outputs=[TensorMetadata(name="probabilities", datatype="FP32", shape=[-1, len(model.classes)])],
    ).response()


@blueprint.get(f"{MODEL}/config")
@blueprint.get(f"{VERSION}/config")
def model_config(version: str | None = None) -> Response:
    """Describe the model as Triton's model configuration does."""
    refuse_other_version(version)
    model = services().model
    return ModelConfig(
        name=NAME,
        platform="keras",
        max_batch_size=MAX_IMAGES,
        input=[TensorConfig(name="images", data_type="TYPE_FP32", dims=list(model.input.shape))],
        output=[TensorConfig(name="probabilities", data_type="TYPE_FP32", dims=[len(model.classes)])],
    ).response()


@blueprint.post(f"{MODEL}/infer")
@blueprint.post(f"{VERSION}/infer")
@login_required
def model_infer(version: str | None = None) -> Response:
    """Compute the class probabilities of images."""
    refuse_other_version(version)
    if request.mimetype not in BODY_TYPES:
        raise UnsupportedMediaType(f"The body must be {JSON}, or {BINARY} with tensors as bytes after the JSON.")
    received = request.get_data(cache=False)
    model, admission = services().model, services().admission
    with admission.admit():
        with admission.decode_slot():
            body = compression.decompressed(received)
            length = json_length(request.headers.get(JSON_LENGTH_HEADER), body)
            with admission.large_image_slot(length > LARGE_BODY_BYTES):
                asked = parse(body[:length], body[length:], model.input.shape)
        results = services().classifier.classify([ModelInput(image, ()) for image in asked.images])
    probabilities = np.array([list(result.probabilities.values()) for result in results], np.float32)
    output, binary = output_tensor(probabilities, model.classes, asked.output)
    response = InferenceResponse(model_name=NAME, model_version=model.version, outputs=[output], id=asked.id).response()
    if binary:
        response.headers[JSON_LENGTH_HEADER] = str(len(response.data))
        response.data, response.mimetype = response.data + binary, BINARY
    return compression.compress(response)


def refuse_other_version(version: str | None) -> None:
    """Refuse a request for another version of the model than the one that is served; None is that one.

    Raises:
        NotFound: If it is another.
    """
    served = services().model.version
    if version not in {None, served}:
        raise NotFound(f"The model is served in version {served} only.")
