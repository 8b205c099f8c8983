"""The Open Inference Protocol, version 2, over REST, for clients that exist already.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from flask import Blueprint, Response, jsonify, request
from pydantic import Field
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from fashion.preprocessing.model_input import ModelInput
from fashion.server.api.predict import infer, served_model
from fashion.server.security.authentication import login_required
from fashion.server.service.admission import work
from fashion.server.service.served_model import NAME

blueprint = Blueprint("v2", __name__, url_prefix="/v2")

INPUT, OUTPUT = "images", "probabilities"
MOST_IMAGES = 512
LARGE_BODY_BYTES = 512 * 1024  # of JSON, whose lists take up to forty times as much memory


class Tensor(pydantic.BaseModel):
    """An input: pixels in [0, 1] as FP32 ``[n, 28, 28, 1]``, or 0-255 as UINT8 ``[n, 28, 28]``; data nested or flat."""

    model_config = pydantic.ConfigDict(strict=True)

    name: Literal["images"]
    shape: Annotated[list[Annotated[int, Field(ge=1, le=MOST_IMAGES)]], Field(min_length=3, max_length=4)]
    datatype: Literal["FP32", "UINT8"]
    data: list[Any]


class RequestedOutput(pydantic.BaseModel):
    """An output that the client wants; there is one."""

    name: Literal["probabilities"]


class InferenceRequest(pydantic.BaseModel):
    """The body of an inference request; parameters of other servers are taken and have no effect."""

    model_config = pydantic.ConfigDict(strict=True)

    id: Annotated[str, Field(max_length=256)] | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1)]
    outputs: list[RequestedOutput] | None = None


@blueprint.get("")
def server_metadata() -> Response:
    """Say what this server is; the version is the protocol's."""
    return jsonify(name="fashion", version="2", extensions=[])


@blueprint.get(f"/models/{NAME}")
def model_metadata() -> Response:
    """Say what the model takes and gives."""
    model = served_model()
    return jsonify(
        name=NAME,
        versions=[model.version],
        platform="keras",
        inputs=[{"name": INPUT, "datatype": "FP32", "shape": [-1, 28, 28, 1]}],
        outputs=[{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(model.classes)]}],
    )


@blueprint.post(f"/models/{NAME}/infer")
@login_required
def model_infer() -> Response:
    """Compute probabilities of images."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The body must be application/json.")
    body = request.get_data(cache=False)
    with work().room():
        with work().workplace(), work().large(len(body) > LARGE_BODY_BYTES):
            images, request_id = _read(body)
        probabilities = infer([ModelInput(image, ()) for image in images]).probabilities
    answer = {
        "model_name": NAME,
        "model_version": served_model().version,
        "outputs": [
            {
                "name": OUTPUT,
                "datatype": "FP32",
                "shape": list(probabilities.shape),
                "data": probabilities.ravel().tolist(),
            }
        ],
    }
    return jsonify(answer if request_id is None else {**answer, "id": request_id})


def _read(body: bytes) -> tuple[np.ndarray, str | None]:
    """Return the images and the id of a request; its numbers, as Python's objects, are forgotten with this call."""
    try:
        asked = InferenceRequest.model_validate_json(body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != "__root__")
        raise BadRequest(f"{place or 'body'}: {first['msg']}") from None
    return _images(asked.inputs[0]), asked.id


def _images(tensor: Tensor) -> np.ndarray:
    """Return ``(n, 28, 28)`` images: uint8 0-255 as they came, or float32 in [0, 1]."""
    shape = tuple(tensor.shape)
    expected = (shape[0], 28, 28, 1) if tensor.datatype == "FP32" else (shape[0], 28, 28)
    if shape != expected:
        raise BadRequest(f"inputs.0.shape: got {list(shape)}, expected [n, {', '.join(map(str, expected[1:]))}]")
    count = int(np.prod(shape))
    try:
        data = np.array(tensor.data)
    except ValueError:  # nested unevenly
        data = np.array([])
    if data.shape not in {shape, (count,)} or data.dtype.kind not in "iuf":
        raise BadRequest(f"inputs.0.data: expected {count} numbers, nested as the shape says or flat")
    if tensor.datatype == "UINT8":
        if not ((data >= 0) & (data <= 255) & (data == np.floor(data))).all():
            raise BadRequest("inputs.0.data: expected whole numbers from 0 to 255")
        return data.astype(np.uint8).reshape(shape)
    if not ((data >= 0) & (data <= 1)).all():
        raise BadRequest("inputs.0.data: expected numbers from 0 to 1")
    return data.astype(np.float32).reshape(shape[:3])
