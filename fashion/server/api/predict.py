"""``POST /predict`` and ``/predict/batch``: one uploaded image, or several."""

from typing import Annotated, Literal

from flask import Blueprint, Response, g, request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypeAliasType
from werkzeug.exceptions import BadRequest

from fashion.server.access import login_required
from fashion.server.api.body import Body, ModelName
from fashion.server.pages import result_page
from fashion.server.problems import Problem, describe, wants_html
from fashion.server.service import upload_form
from fashion.server.service.classify import Classification
from fashion.server.services import services
from fashion.server.settings import MAX_BATCH_FILES

blueprint = Blueprint("api", __name__)

Share = Annotated[float, Field(ge=0, le=1)]
# Schemas with a name, to which openapi.py adds the classes of the served model.
ClassName = TypeAliasType("ClassName", str)
ClassIndex = TypeAliasType("ClassIndex", Annotated[int, Field(ge=0)])
Probabilities = TypeAliasType("Probabilities", dict[ClassName, Share])


class AbstentionScore(Body):
    """How unlike the training images the image is; above the threshold, the model abstains."""

    score: float
    threshold: float


class Preprocessing(Body):
    """What was done to the image before the model saw it, one phrase per step."""

    steps: list[str]


class ClassifiedImage(Body):
    """The classification of one image."""

    predicted_class: ClassName
    class_index: ClassIndex
    confidence: Share
    probabilities: Probabilities
    also_likely: Annotated[list[ClassName], Field(description="At least half as probable as the predicted class.")]
    decision: Literal["accept", "abstain"]
    abstention: AbstentionScore | SkipJsonSchema[None] = None
    preprocessing: Preprocessing


class ModelReference(Body):
    """The model that classified; its version is the beginning of the model file's SHA-256."""

    name: ModelName
    version: str


class PredictResponse(ClassifiedImage):
    """The response to ``POST /predict``."""

    model: ModelReference
    request_id: str
    preview: Annotated[
        str | SkipJsonSchema[None], Field(description="The pixels that the model saw: a PNG data URL.")
    ] = None


class FailedImage(Body):
    """Why one of several images could not be classified."""

    problem: Problem


class BatchResponse(Body):
    """The response to ``POST /predict/batch``: a classification or a problem for each image, in their order."""

    results: list[ClassifiedImage | FailedImage]
    model: ModelReference
    request_id: str


@blueprint.post("/predict")
@login_required
def predict() -> str | Response:
    """Classify one image; answers with HTML for a browser, and JSON for everyone else."""
    images = upload_form.images()
    if len(images) > 1:
        raise BadRequest(f"Expected one image, got {len(images)}; /predict/batch accepts several.")
    if wants_html():
        return result_page.classify_and_show(images[0])
    result, upload = services().classifier.classify_upload(images[0])
    preview = result_page.data_url(upload.model_input.pixels) if request.args.get("preview") == "1" else None
    return predict_response(result, preview).response()


@blueprint.post("/predict/batch")
@login_required
def predict_batch() -> Response:
    """Classify several images; one that cannot be read does not fail the others."""
    images = upload_form.images()
    if len(images) > MAX_BATCH_FILES:
        raise BadRequest(f"Expected at most {MAX_BATCH_FILES} images, got {len(images)}.")
    results = services().classifier.classify_batch(images)
    return BatchResponse(
        results=[
            _classified(result) if isinstance(result, Classification) else FailedImage(problem=describe(result))
            for result in results
        ],
        model=_model(),
        request_id=g.request_id,
    ).response()


def predict_response(result: Classification, preview: str | None = None) -> PredictResponse:
    """Return the body of the current request's response to one image."""
    return PredictResponse(**dict(_classified(result)), model=_model(), request_id=g.request_id, preview=preview)


def _classified(result: Classification) -> ClassifiedImage:
    score, threshold = result.judgement.score, result.judgement.threshold
    return ClassifiedImage(
        predicted_class=result.predicted_class,
        class_index=result.class_index,
        confidence=result.confidence,
        probabilities=result.probabilities,
        also_likely=result.also_likely,
        decision=result.decision,
        abstention=None if threshold is None else AbstentionScore(score=score, threshold=threshold),
        preprocessing=Preprocessing(steps=list(result.steps)),
    )


def _model() -> ModelReference:
    model = services().model
    return ModelReference(name=model.name, version=model.version)
