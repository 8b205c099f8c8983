"""Predictions: one picture, or up to 64 at once."""

import base64
import io
from typing import Any

import numpy as np
from flask import Blueprint, Response, current_app, g, jsonify, render_template, request
from PIL import Image
from werkzeug.exceptions import BadRequest, HTTPException

from fashion.inference.photo import Prepared
from fashion.inference.trust import Prediction
from fashion.server import uploads
from fashion.server.auth import login_required
from fashion.server.model import NAME, ServedModel
from fashion.server.monitoring import monitor
from fashion.server.problems import describe, wants_html
from fashion.server.settings import MOST_BATCH_FILES
from fashion.server.work import work

blueprint = Blueprint("api", __name__)


@blueprint.post("/predict")
@login_required
def predict() -> str | Response:
    """Classify one picture; HTML for a browser, JSON for everyone else."""
    files = uploads.files()
    if len(files) > 1:
        raise BadRequest(f"{len(files)} pictures came, expected one; /predict/batch takes several.")
    with work().room():
        with work().workplace():
            upload = uploads.read(files[0])
        g.told["picture_sha256"] = upload.sha256
        answer = infer(upload.prepared.pixels[np.newaxis])
    result = {**_prediction(answer, 0, upload.prepared), **_about()}
    g.told["predicted_class"], g.told["confidence"] = result["predicted_class"], result["confidence"]
    if wants_html():
        ranking = sorted(result["probabilities"].items(), key=lambda item: -item[1])
        return render_template("result.html", result=result, ranking=ranking, preview=_preview(upload.prepared))
    if request.args.get("preview") == "1":
        result["preview"] = _preview(upload.prepared)
    return jsonify(result)


@blueprint.post("/predict/batch")
@login_required
def predict_batch() -> Response:
    """Classify several pictures; each has its own result, or its own problem."""
    files = uploads.files()
    if len(files) > MOST_BATCH_FILES:
        raise BadRequest(f"{len(files)} pictures came, expected at most {MOST_BATCH_FILES}.")
    results: list[dict[str, Any]] = []
    readable: dict[int, Prepared] = {}
    with work().room():
        with work().workplace():
            for index, file in enumerate(files):
                try:
                    readable[index] = uploads.read(file).prepared
                    results.append({})
                except HTTPException as error:
                    results.append({"problem": describe(error)})
        if readable:
            answer = infer(np.stack([prepared.pixels for prepared in readable.values()]))
            for row, (index, prepared) in enumerate(readable.items()):
                results[index] = _prediction(answer, row, prepared)
    return jsonify({"results": results, **_about()})


def infer(images: np.ndarray) -> Prediction:
    """Answer ``(n, 28, 28)`` uint8 images, and count what is said of them."""
    model = served_model()
    with monitor().stage("infer"):
        answer = model.predict(images)
    for row, score in zip(*answer, strict=True):
        index = int(row.argmax())
        monitor().classified(model.classes[index], float(row[index]), model.trust.decision(score))
    return answer


def served_model() -> ServedModel:
    """Return the model of the current application."""
    return current_app.extensions["model"]


def _prediction(answer: Prediction, row: int, prepared: Prepared) -> dict[str, Any]:
    model = served_model()
    probabilities, score = answer.probabilities[row], float(answer.scores[row])
    index = int(probabilities.argmax())
    told: dict[str, Any] = {
        "predicted_class": model.classes[index],
        "class_index": index,
        "confidence": float(probabilities[index]),
        "probabilities": dict(zip(model.classes, probabilities.tolist(), strict=True)),
        "decision": model.trust.decision(score),
    }
    if model.trust.threshold is not None:
        told["abstention"] = {"score": score, "threshold": model.trust.threshold}
    return {**told, "preprocessing": {"steps": list(prepared.steps)}}


def _about() -> dict[str, Any]:
    return {"model": {"name": NAME, "version": served_model().version}, "request_id": g.request_id}


def _preview(prepared: Prepared) -> str:
    """Return the 28 x 28 pixels that the model saw, as a PNG in a data URL."""
    stream = io.BytesIO()
    Image.fromarray(prepared.pixels).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
