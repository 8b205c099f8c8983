"""The first page: the upload form, example images, and a description of the model."""

from flask import Blueprint, Response, render_template
from werkzeug.exceptions import NotFound

from fashion.card import ExampleEntry
from fashion.preprocessing.decode import MAX_PIXELS
from fashion.preprocessing.formats import FORMATS, accepted, identify, readable_formats
from fashion.server.access import login_required
from fashion.server.pages import result_page
from fashion.server.services import services
from fashion.server.settings import MAX_BODY_BYTES, MEBIBYTE

blueprint = Blueprint("web", __name__)


@blueprint.get("/")
def index() -> str:
    """Show the form."""
    return render_template(
        "index.html",
        keeps_images=services().history.keeps_images,
        formats=accepted(),
        accept=",".join(part for each in readable_formats() for part in (*each.media_types, *each.suffixes)),
        max_mebibytes=MAX_BODY_BYTES // MEBIBYTE,
        max_megapixels=MAX_PIXELS // 1_000_000,
    )


@blueprint.get("/examples/<int:number>")
def example(number: int) -> Response:
    """Return an example image."""
    content = _example(number).content
    return Response(content, mimetype=FORMATS[identify(content)].media_types[0])


@blueprint.post("/examples/<int:number>")
@login_required
def try_example(number: int) -> str:
    """Classify an example image."""
    return result_page.classify_and_show(_example(number).content)


def _example(number: int) -> ExampleEntry:
    examples = services().model.card.examples
    if number >= len(examples):
        raise NotFound("There is no such example.")
    return examples[number]
