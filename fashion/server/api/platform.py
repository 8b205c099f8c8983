"""What cloud platforms ask of a container: whether it is ready, and predictions.

Amazon SageMaker sends the body of InvokeEndpoint as it is, with its Content-Type:
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html

Vertex AI sends ``{"instances": [...], "parameters": ...}`` and expects ``{"predictions": [...]}``:
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements

Both authenticate clients themselves and remove the Authorization header, so these paths need no log-in. They exist only
with ``server.platform``.
"""

import base64
import binascii
from typing import Annotated

import pydantic
from flask import Blueprint, Response, request
from pydantic import Field
from werkzeug.exceptions import BadRequest, HTTPException, UnsupportedMediaType

from fashion.server.api.body import Body
from fashion.server.api.health import Ready
from fashion.server.api.open_inference import JSON, LARGE_BODY_BYTES, infer
from fashion.server.api.predict import FailedImage, PredictResponse, predict_response
from fashion.server.environment import PlatformRoutes
from fashion.server.problems import describe
from fashion.server.service.request_body import IDENTITY, content_encoding
from fashion.server.services import services
from fashion.server.settings import MAX_BATCH_FILES

# An image is recognised by its content. The last is what SageMaker's own image classifiers take.
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/avif", "image/heic", "application/x-image")


class Instance(pydantic.BaseModel):
    """An image file."""

    model_config = pydantic.ConfigDict(strict=True)

    b64: Annotated[str, Field(description="The file's bytes, encoded in base64.")]


class InstancesRequest(pydantic.BaseModel):
    """Several images; other members, such as ``parameters``, are ignored."""

    model_config = pydantic.ConfigDict(strict=True)

    instances: Annotated[list[Instance], Field(min_length=1, max_length=MAX_BATCH_FILES)]


class PredictionsResponse(Body):
    """A classification or a problem for each instance, in their order."""

    predictions: list[PredictResponse | FailedImage]


def create_blueprint(routes: PlatformRoutes) -> Blueprint:
    """Return the views at the paths that a platform asks."""
    blueprint = Blueprint("platform", __name__)
    blueprint.get(routes.health)(health)
    blueprint.post(routes.predict)(predict)
    return blueprint


def health() -> Response:
    """Answer whether predictions are served."""
    services().readiness.require()
    return Ready(status="ready").response()


def predict() -> Response:
    """Classify the image that is the body, or the images in its JSON, of which one that is bad does not fail others.

    The JSON may also be an inference request with tensors, as ``/v2`` takes it.
    """
    if content_encoding() != IDENTITY:
        raise UnsupportedMediaType("The request has a Content-Encoding; send its body uncompressed, without one.")
    if request.mimetype in IMAGE_TYPES:
        result, _ = services().classifier.classify_upload(request.get_data(cache=False))
        return predict_response(result).response()
    if request.mimetype != JSON:
        raise UnsupportedMediaType(f"The body must be {JSON}, or an image: {', '.join(IMAGE_TYPES)}.")
    body = request.get_data(cache=False)
    if b'"inputs"' in body and b'"instances"' not in body:  # no base64 contains a quotation mark
        return infer(body)
    contents = _contents(body)
    images = [content for content in contents if isinstance(content, bytes)]
    classified = iter(services().classifier.classify_batch(images))
    results = [next(classified) if isinstance(content, bytes) else content for content in contents]
    return PredictionsResponse(
        predictions=[
            FailedImage(problem=describe(result)) if isinstance(result, HTTPException) else predict_response(result)
            for result in results
        ]
    ).response()


def _contents(body: bytes) -> list[bytes | BadRequest]:
    """Return the bytes of each instance, or why it has none; JSON takes a slot, as it needs memory like an image."""
    admission = services().admission
    with admission.admit(), admission.decode_slot(), admission.large_image_slot(len(body) > LARGE_BODY_BYTES):
        try:
            asked = InstancesRequest.model_validate_json(body)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise BadRequest(f"{place or 'body'}: {first['msg']}") from None
        return [_decoded(instance.b64) for instance in asked.instances]


def _decoded(text: str) -> bytes | BadRequest:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: it is not ASCII
        return BadRequest("b64 is not base64.")
