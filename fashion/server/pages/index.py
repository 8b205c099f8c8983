"""The first page: the upload form, example images, and a description of the model."""

from pathlib import Path

from flask import Blueprint, current_app, render_template
from werkzeug.exceptions import NotFound

from fashion.preprocessing.decode import MAX_PIXELS
from fashion.preprocessing.formats import accepted, readable_formats
from fashion.server.access import login_required
from fashion.server.pages import result_page
from fashion.server.service.served_model import NAME
from fashion.server.services import services
from fashion.server.settings import MAX_BODY_BYTES, MEBIBYTE

blueprint = Blueprint("web", __name__)

# Test images; static/examples/SOURCE.txt lists them, and how to make the files.
EXAMPLES = ("ankle-boot", "pullover", "trouser", "dress", "sandal", "bag")


@blueprint.get("/")
def index() -> str:
    """Show the form."""
    services().history.prune()
    card = services().model.card
    builder = card.config.get("model", {}).get("_target_", "")
    return render_template(
        "index.html",
        examples=EXAMPLES,
        card=card,
        architecture=builder.rpartition(".")[2] or NAME,
        keeps_images=services().history.keeps_images,
        formats=accepted(),
        accept=",".join(part for each in readable_formats() for part in (*each.media_types, *each.suffixes)),
        max_mebibytes=MAX_BODY_BYTES // MEBIBYTE,
        max_megapixels=MAX_PIXELS // 1_000_000,
    )


@blueprint.post("/examples/<name>")
@login_required
def try_example(name: str) -> str:
    """Classify an example image."""
    if name not in EXAMPLES:
        raise NotFound("There is no such example.")
    file = Path(current_app.static_folder or "") / "examples" / f"{name}.png"
    return result_page.classify_and_show(file.read_bytes())
