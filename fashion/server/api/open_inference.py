"""The Open Inference Protocol, version 2, over REST, so that its existing clients work.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import math
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pydantic
from flask import Blueprint, Response, request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from fashion.preprocessing.model_input import ModelInput
from fashion.server.access import login_required
from fashion.server.api.body import Body, ModelName
from fashion.server.service.served_model import NAME
from fashion.server.services import services

blueprint = Blueprint("v2", __name__, url_prefix="/v2")

MAX_IMAGES = 512
LARGE_BODY_BYTES = 512 * 1024  # of JSON, which takes up to forty times as much memory once it is parsed

InputName: TypeAlias = Literal["images"]
OutputName: TypeAlias = Literal["probabilities"]


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


class InputTensor(pydantic.BaseModel):
    """Images with pixels in [0, 1] as FP32 ``[n, height, width, 1]``, or 0-255 as UINT8 ``[n, height, width]``."""

    model_config = pydantic.ConfigDict(strict=True)

    name: InputName
    shape: Annotated[list[Annotated[int, Field(ge=1, le=MAX_IMAGES)]], Field(min_length=3, max_length=4)]
    datatype: Literal["FP32", "UINT8"]
    data: Annotated[list[Any], Field(description="Numbers, flat or nested according to the shape.")]


class RequestedOutput(pydantic.BaseModel):
    """An output that the client asks for; there is one."""

    name: OutputName


class InferenceRequest(pydantic.BaseModel):
    """The body of an inference request; parameters of other servers are ignored."""

    model_config = pydantic.ConfigDict(strict=True)

    id: Annotated[str, Field(max_length=256)] | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: list[RequestedOutput] | None = None


class OutputTensor(Body):
    """The calibrated probabilities of each image's classes, flat."""

    name: OutputName
    datatype: Literal["FP32"]
    shape: list[int]
    data: list[float]


class InferenceResponse(Body):
    """The body of the response to an inference request."""

    model_name: ModelName
    model_version: str
    outputs: list[OutputTensor]
    id: str | SkipJsonSchema[None] = None


@blueprint.get("")
def server_metadata() -> Response:
    """Describe the server."""
    return ServerMetadata(name="fashion", version="2", extensions=[]).response()


@blueprint.get(f"/models/{NAME}")
def model_metadata() -> Response:
    """Describe the model's inputs and outputs."""
    model = services().model
    return ModelMetadata(
        name=NAME,
        versions=[model.version],
        platform="keras",
        inputs=[TensorMetadata(name="images", datatype="FP32", shape=[-1, model.side, model.side, 1])],
        outputs=[TensorMetadata(name="probabilities", datatype="FP32", shape=[-1, len(model.classes)])],
    ).response()


@blueprint.post(f"/models/{NAME}/infer")
@login_required
def model_infer() -> Response:
    """Compute the class probabilities of images."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The body must be application/json.")
    body = request.get_data(cache=False)
    model, admission = services().model, services().admission
    with admission.admit():
        with admission.decode_slot(), admission.large_image_slot(len(body) > LARGE_BODY_BYTES):
            images, request_id = _parse(body, model.side)
        results = services().classifier.classify([ModelInput(image, ()) for image in images])
    output = OutputTensor(
        name="probabilities",
        datatype="FP32",
        shape=[len(results), len(model.classes)],
        data=[probability for result in results for probability in result.probabilities.values()],
    )
    return InferenceResponse(model_name=NAME, model_version=model.version, outputs=[output], id=request_id).response()


def _parse(body: bytes, side: int) -> tuple[np.ndarray, str | None]:
    """Return a request's images and id; its numbers as Python objects are freed with this call."""
    try:
        parsed = InferenceRequest.model_validate_json(body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != "__root__")
        raise BadRequest(f"{place or 'body'}: {first['msg']}") from None
    return _images(parsed.inputs[0], side), parsed.id


def _images(tensor: InputTensor, side: int) -> np.ndarray:
    """Return ``(n, side, side)`` images: uint8 0-255, or float32 in [0, 1]."""
    shape = tuple(tensor.shape)
    expected = (shape[0], side, side, 1) if tensor.datatype == "FP32" else (shape[0], side, side)
    if shape != expected:
        raise BadRequest(f"inputs.0.shape: got {list(shape)}, expected [n, {', '.join(map(str, expected[1:]))}]")
    count = math.prod(shape)
    try:
        data = np.array(tensor.data)
    except ValueError:  # nested unevenly
        data = np.array([])
    if data.shape not in {shape, (count,)} or data.dtype.kind not in "iuf":
        raise BadRequest(f"inputs.0.data: expected {count} numbers, flat or nested according to the shape")
    if tensor.datatype == "UINT8":
        if not ((data >= 0) & (data <= 255) & (data == np.floor(data))).all():
            raise BadRequest("inputs.0.data: expected whole numbers from 0 to 255")
        return data.astype(np.uint8).reshape(shape)
    if not ((data >= 0) & (data <= 1)).all():
        raise BadRequest("inputs.0.data: expected numbers from 0 to 1")
    return data.astype(np.float32).reshape(shape[:3])
