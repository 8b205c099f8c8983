"""Predictions: one picture, or up to 64 at once."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import BadRequest, HTTPException

from fashion.inference.tta import predict_with_tta
from fashion.preprocessing.model_input import ModelInput
from fashion.server.pages import result_page
from fashion.server.problems import describe, wants_html
from fashion.server.security.authentication import login_required
from fashion.server.service import uploads
from fashion.server.service.admission import work
from fashion.server.service.monitoring import monitor
from fashion.server.service.served_model import NAME, ServedModel
from fashion.server.settings import MOST_BATCH_FILES
from fashion.uncertainty.posthoc import Prediction, also_likely

blueprint = Blueprint("api", __name__)


@blueprint.post("/predict")
@login_required
def predict() -> str | Response:
    """Classify one picture; HTML for a browser, JSON for everyone else."""
    files = uploads.files()
    if len(files) > 1:
        raise BadRequest(f"{len(files)} pictures came, expected one; /predict/batch takes several.")
    result, upload = classify(files[0])
    if wants_html():
        return show(result, upload, files[0])
    if request.args.get("preview") == "1":
        result["preview"] = result_page.data_url(upload.prepared.pixels)
    return jsonify(result)


@blueprint.post("/predict/batch")
@login_required
def predict_batch() -> Response:
    """Classify several pictures; each has its own result, or its own problem."""
    files = uploads.files()
    if len(files) > MOST_BATCH_FILES:
        raise BadRequest(f"{len(files)} pictures came, expected at most {MOST_BATCH_FILES}.")
    results: list[dict[str, Any]] = []
    readable: dict[int, ModelInput] = {}
    with work().room():
        with work().workplace():
            for index, file in enumerate(files):
                try:
                    readable[index] = uploads.read(file).prepared
                    results.append({})
                except HTTPException as error:
                    results.append({"problem": describe(error)})
        if readable:
            answer = infer(list(readable.values()))
            for row, (index, prepared) in enumerate(readable.items()):
                results[index] = _prediction(answer, row, prepared)
    return jsonify({"results": results, **_about()})


def classify(file: FileStorage) -> tuple[dict[str, Any], uploads.Upload]:
    """Return the answer to one picture, as it goes to programs, and the picture as the model saw it.

    Raises:
        HTTPException: When it cannot be read, or too many requests wait.
    """
    with work().room():
        with work().workplace():
            upload = uploads.read(file)
        g.told["picture_sha256"] = upload.sha256
        answer = infer([upload.prepared])
    result = {**_prediction(answer, 0, upload.prepared), **_about()}
    for name in ("predicted_class", "confidence", "decision"):
        g.told[name] = result[name]
    return result, upload


def show(result: dict[str, Any], upload: uploads.Upload, file: FileStorage) -> str:
    """Return an answer as a page."""
    with work().workplace():
        sent = result_page.thumbnail(file.stream)
    with work().room():
        marked = result_page.marked(served_model().probabilities, upload.prepared.pixels, result["class_index"])
    return result_page.page(result, upload, sent, marked)


def infer(pictures: Sequence[ModelInput]) -> Prediction:
    """Answer pictures, and count what is said of them."""
    model = served_model()
    with monitor().stage("infer"):
        answer = predict_with_tta(pictures, model.predict)
    for row, picture in enumerate(pictures):
        index = int(answer.probabilities[row].argmax())
        decision = model.uncertainty.judge(answer, row, photo=picture.is_photo).decision
        monitor().classified(model.classes[index], float(answer.probabilities[row, index]), decision)
    return answer


def served_model() -> ServedModel:
    """Return the model of the current application."""
    return current_app.extensions["model"]


def _prediction(answer: Prediction, row: int, prepared: ModelInput) -> dict[str, Any]:
    model = served_model()
    probabilities = answer.probabilities[row]
    judgement = model.uncertainty.judge(answer, row, photo=prepared.is_photo)
    index = int(probabilities.argmax())
    told: dict[str, Any] = {
        "predicted_class": model.classes[index],
        "class_index": index,
        "confidence": float(probabilities[index]),
        "probabilities": dict(zip(model.classes, probabilities.tolist(), strict=True)),
        "also_likely": [model.classes[other] for other in also_likely(probabilities)],
        "decision": judgement.decision,
    }
    if judgement.threshold is not None:
        told["abstention"] = {"score": judgement.score, "threshold": judgement.threshold}
    return {**told, "preprocessing": {"steps": list(prepared.steps)}}


def _about() -> dict[str, Any]:
    return {"model": {"name": NAME, "version": served_model().version}, "request_id": g.request_id}
