"""Tensors in inference requests and responses: as numbers in the JSON, or as bytes after it.

The bytes are Triton's binary tensor data extension: little-endian and row-major, with their size in the tensor's
parameters and the length of the JSON in a header.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md
"""

import math
import re
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pydantic
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from fashion.server.api.body import Body, ModelName
from fashion.server.settings import MAX_BODY_BYTES, MEBIBYTE

JSON_LENGTH_HEADER = "Inference-Header-Content-Length"
MAX_IMAGES = 512
DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}

InputName: TypeAlias = Literal["images"]
OutputName: TypeAlias = Literal["probabilities"]
STRICT = pydantic.ConfigDict(strict=True)  # no type coercion; unknown fields are ignored


class InputParameters(pydantic.BaseModel):
    """Where a tensor's data is, if not in the JSON."""

    model_config = STRICT

    binary_data_size: (
        Annotated[int, Field(ge=0, description="Bytes of the data, which then follow the JSON.")] | None
    ) = None


class InputTensor(pydantic.BaseModel):
    """Images: pixels in [0, 1] as FP32, or 0-255 as UINT8, where grey images have no axis for channels."""

    model_config = STRICT

    name: InputName
    shape: Annotated[list[Annotated[int, Field(ge=1, le=MAX_IMAGES)]], Field(min_length=3, max_length=4)]
    datatype: Literal["FP32", "UINT8"]
    data: Annotated[list[Any], Field(description="Numbers, flat or nested according to the shape.")] | None = None
    parameters: InputParameters | None = None


class OutputParameters(pydantic.BaseModel):
    """The form in which an output is wanted."""

    model_config = STRICT

    binary_data: Annotated[bool, Field(description="As bytes after the JSON.")] | None = None
    classification: (
        Annotated[
            int,
            Field(
                ge=1,
                description="Return this many most probable classes of each image, as 'probability:index:class'.",
            ),
        ]
        | None
    ) = None


class RequestedOutput(pydantic.BaseModel):
    """An output that the client asks for; there is one."""

    model_config = STRICT

    name: OutputName
    parameters: OutputParameters | None = None


class RequestParameters(pydantic.BaseModel):
    """The default encoding of outputs that do not specify one."""

    model_config = STRICT

    binary_data_output: Annotated[bool, Field(description="As bytes after the JSON.")] | None = None


class InferenceRequest(pydantic.BaseModel):
    """The JSON of an inference request; parameters of other servers are ignored."""

    model_config = STRICT

    id: Annotated[str, Field(max_length=256)] | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[RequestedOutput], Field(max_length=1)] | None = None
    parameters: RequestParameters | None = None

    def output_form(self) -> OutputParameters:
        """Return the form in which the output is wanted."""
        form = (self.outputs[0].parameters if self.outputs else None) or OutputParameters()
        binary = self.parameters.binary_data_output if self.parameters else None
        return form.model_copy(update={"binary_data": binary}) if form.binary_data is None else form


class BinarySize(Body):
    """The number of bytes of an output's data, which follow the JSON."""

    binary_data_size: int


class OutputTensor(Body):
    """The calibrated probabilities of each image's classes, flat, or texts where a classification was asked for."""

    name: OutputName
    datatype: Literal["FP32", "BYTES"]
    shape: list[int]
    data: list[float] | list[str] | SkipJsonSchema[None] = None
    parameters: BinarySize | SkipJsonSchema[None] = None


class InferenceResponse(Body):
    """The JSON of the response to an inference request."""

    model_name: ModelName
    model_version: str
    outputs: list[OutputTensor]
    id: str | SkipJsonSchema[None] = None


class ParsedRequest(NamedTuple):
    """What a request asks.

    Attributes:
        images: ``(n, h, w, c)`` uint8 0-255, or float32 in [0, 1].
        id: The client's name for the request.
        output: The form in which the output is wanted.
    """

    images: np.ndarray
    id: str | None
    output: OutputParameters


def max_images(image_shape: tuple[int, int, int], dtype: np.dtype[Any] = DTYPES["UINT8"]) -> int:
    """Return how many images a request may have: as many as fit in its body as bytes."""
    return min(MAX_IMAGES, MAX_BODY_BYTES // (math.prod(image_shape) * dtype.itemsize))


def too_large(image_shape: tuple[int, int, int]) -> RequestEntityTooLarge:
    """Return the refusal of a body beyond the limit, with what fits into one."""
    images = {datatype: max_images(image_shape, dtype) for datatype, dtype in DTYPES.items()}
    fits = " or ".join(f"{count} images as {datatype}" for datatype, count in images.items())
    return RequestEntityTooLarge(
        f"The body is too large: at most {MAX_BODY_BYTES // MEBIBYTE} MiB, which is enough for {fits} where they are "
        "sent as bytes after the JSON (binary_data_size); send fewer at a time."
    )


def tensor_shapes(image_shape: tuple[int, int, int]) -> dict[str, str]:
    """Return the shape that is expected of each datatype, in words: ``[n, height, width, channels]``."""
    shapes = {datatype: _axes(datatype, image_shape) for datatype in DTYPES}
    return {datatype: f"[n, {', '.join(map(str, axes))}]" for datatype, axes in shapes.items()}


def json_length(header: str | None, body: bytes) -> int:
    """Return how many bytes of a request's body are JSON: all, unless its header says otherwise.

    Raises:
        BadRequest: If the header is no length within the body.
    """
    if header is None:
        return len(body)
    if not re.fullmatch("[0-9]{1,9}", header) or not 1 <= int(header) <= len(body):
        raise BadRequest(f"{JSON_LENGTH_HEADER}: expected the JSON's length in bytes, at most the body's {len(body)}")
    return int(header)


def parse(text: bytes, binary: bytes, image_shape: tuple[int, int, int]) -> ParsedRequest:
    """Parse a request; its numbers as Python objects are freed with this call.

    Args:
        text: The JSON.
        binary: The bytes after it.
        image_shape: Height, width and channels of the model's input.

    Raises:
        BadRequest: If it is malformed.
    """
    try:
        parsed = InferenceRequest.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != "__root__")
        raise BadRequest(f"{place or 'body'}: {first['msg']}") from None
    return ParsedRequest(_images(parsed.inputs[0], binary, image_shape), parsed.id, parsed.output_form())


def output_tensor(
    probabilities: np.ndarray, classes: Sequence[str], form: OutputParameters
) -> tuple[OutputTensor, bytes]:
    """Return an output in the form in which it is wanted, and the bytes to send after the JSON.

    Args:
        probabilities: ``(n, classes)`` float32.
        classes: Class names, in the order of the probabilities.
        form: The wanted form.
    """
    if form.classification is None:
        tensor = OutputTensor(name="probabilities", datatype="FP32", shape=list(probabilities.shape))
        data, binary = probabilities.ravel().tolist(), probabilities.astype(DTYPES["FP32"]).tobytes()
    else:
        count = min(form.classification, len(classes))
        tensor = OutputTensor(name="probabilities", datatype="BYTES", shape=[len(probabilities), count])
        data = [
            f"{row[index]:f}:{index}:{classes[index]}"
            for row in probabilities
            for index in np.argsort(-row, kind="stable")[:count]
        ]
        binary = b"".join(struct.pack("<I", len(text)) + text for text in map(str.encode, data))
    if form.binary_data:
        return tensor.model_copy(update={"parameters": BinarySize(binary_data_size=len(binary))}), binary
    return tensor.model_copy(update={"data": data}), b""


def _images(tensor: InputTensor, binary: bytes, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Return ``(n, h, w, c)`` images: uint8 0-255, or float32 in [0, 1]."""
    shape = tuple(tensor.shape)
    if shape[1:] != _axes(tensor.datatype, image_shape):
        expected = tensor_shapes(image_shape)[tensor.datatype]
        raise BadRequest(f"inputs.0.shape: got {list(shape)}, expected {expected}")
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    if size is None:
        if binary:
            raise BadRequest(f"body: {len(binary)} bytes follow the JSON, expected none without binary_data_size")
        data = _numbers(tensor, shape)
    else:
        data = _decoded(tensor, size, binary)
    if tensor.datatype == "UINT8":
        if not ((data >= 0) & (data <= 255) & (data == np.floor(data))).all():
            raise BadRequest("inputs.0.data: expected whole numbers from 0 to 255")
        return data.astype(np.uint8).reshape(-1, *image_shape)
    if not ((data >= 0) & (data <= 1)).all():
        raise BadRequest("inputs.0.data: expected numbers from 0 to 1")
    return data.astype(np.float32).reshape(-1, *image_shape)


def _axes(datatype: str, image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the axes of one image: UINT8 has no axis for the channel of grey images."""
    return image_shape[:2] if datatype == "UINT8" and image_shape[2] == 1 else image_shape


def _numbers(tensor: InputTensor, shape: tuple[int, ...]) -> np.ndarray:
    """Return the numbers in the JSON, flat."""
    if tensor.data is None:
        raise BadRequest(
            "inputs.0.data: expected numbers, or binary_data_size in the parameters; shared memory is not read"
        )
    try:
        return np.array(_flat(tensor.data, shape), np.float64)
    except (ValueError, OverflowError):  # the second for integers of hundreds of digits
        count = math.prod(shape)
        raise BadRequest(f"inputs.0.data: expected {count} numbers, flat or nested according to the shape") from None


def _flat(data: list[Any], shape: tuple[int, ...]) -> list[int | float]:
    """Return numbers that are flat, or nested according to a shape, as a flat list.

    NumPy is given nothing else: an array of texts takes as much memory for each as for the longest.

    Raises:
        ValueError: When they are neither, or not all are numbers.
    """
    is_nested = bool(data) and isinstance(data[0], list)
    for length in shape[1:] if is_nested else ():
        if set(map(type, data)) != {list} or set(map(len, data)) != {length}:
            raise ValueError("nested unevenly")
        data = list(chain.from_iterable(data))
    if len(data) != math.prod(shape) or not set(map(type, data)) <= {int, float}:
        raise ValueError("not as many numbers")
    return data


def _decoded(tensor: InputTensor, size: int, binary: bytes) -> np.ndarray:
    """Return the numbers after the JSON, flat."""
    if tensor.data is not None:
        raise BadRequest("inputs.0.data: expected none beside binary_data_size")
    dtype = DTYPES[tensor.datatype]
    expected = math.prod(tensor.shape) * dtype.itemsize
    if size != expected:
        raise BadRequest(f"inputs.0.parameters.binary_data_size: got {size}, expected {expected} for this shape")
    if len(binary) != size:
        raise BadRequest(
            f"body: {len(binary)} bytes follow the JSON, expected binary_data_size={size}; "
            f"the header {JSON_LENGTH_HEADER} says where they begin"
        )
    return np.frombuffer(binary, dtype)
