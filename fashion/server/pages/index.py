"""The first page for people: the form, pictures to try, and what there is to know about the model."""

from pathlib import Path
from typing import Any

from flask import Blueprint, current_app, render_template
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import NotFound

from fashion.preprocessing.decode import MAX_PIXELS
from fashion.server.api.predict import classify, served_model, show
from fashion.server.security.authentication import login_required
from fashion.server.service.served_model import NAME
from fashion.server.settings import MEBIBYTE, MOST_BODY_BYTES
from fashion.server.storage.prediction_history import predictions

blueprint = Blueprint("web", __name__)

# Of the test set; static/examples/SOURCE.txt says which, and how the files are made.
EXAMPLES = ("ankle-boot", "pullover", "trouser", "dress", "sandal", "bag")


@blueprint.get("/")
def index() -> str:
    """Show the form."""
    predictions().prune()
    return render_template(
        "index.html",
        examples=EXAMPLES,
        card=_card(),
        keeps_pictures=predictions().keeps_pictures,
        most_mebibytes=MOST_BODY_BYTES // MEBIBYTE,
        most_megapixels=MAX_PIXELS // 1_000_000,
    )


@blueprint.post("/examples/<name>")
@login_required
def try_example(name: str) -> str:
    """Classify one of the pictures to try."""
    if name not in EXAMPLES:
        raise NotFound("There is no such example.")
    with (Path(current_app.static_folder or "") / "examples" / f"{name}.png").open("rb") as stream:
        file = FileStorage(stream)
        result, upload = classify(file)
        return show(result, upload, file)


def _card() -> dict[str, Any]:
    """Return what the model's card says for people."""
    model = served_model()
    card = model.card
    target = card.config.get("model", {}).get("_target_", "")
    return {
        "name": target.rpartition(".")[2] or NAME,
        "version": model.version,
        "created": (card.created or "")[:10],
        "parameters": card.parameters,
        "test": card.test,
        "calibration_error": card.calibration.validation_after.ece if card.calibration else None,
        "kept": card.abstention.validation_kept if card.abstention else None,
    }
