"""The result as a page: the image, what the model saw of it, what drives the prediction, and how sure the model is."""

import base64
import io

import numpy as np
from flask import g, render_template
from PIL import Image

from fashion.server.pages import overlay
from fashion.server.service.classify import Classification
from fashion.server.service.uploads import Upload
from fashion.server.services import services
from fashion.server.storage.prediction_history import PastPrediction

SHOWN_SIDE, KEPT_SIDE = 512, 1024  # longest side, in pixels
SHOWN_QUALITY, KEPT_QUALITY = 80, 85  # of JPEG
SHOWN_CLASSES = 10
TINY_SIDE = 64  # up to this, shown enlarged pixel by pixel instead of blurred


def classify_and_show(content: bytes) -> str:
    """Classify an uploaded image, add it to the history of whoever is signed in, and return the page.

    Raises:
        HTTPException: If the image cannot be read, or too many requests are waiting.
    """
    keeps_images = services().history.keeps_images
    result, upload, sensitivity = services().classifier.explain_upload(
        content, KEPT_SIDE if keeps_images else SHOWN_SIDE
    )
    thumbnail = upload.thumbnail
    if thumbnail is None:
        raise ValueError("an upload for a page needs a thumbnail")
    prediction = _add_to_history(result, upload, _jpeg(thumbnail, KEPT_QUALITY) if keeps_images else None)
    thumbnail.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    is_tiny = _is_tiny(thumbnail)
    ranking = sorted(result.probabilities.items(), key=lambda item: -item[1])
    pixels = upload.model_input.pixels
    spec = services().model.input
    drives_on_photo = spec.preprocessing == "resize"  # any other changes what is where
    if drives_on_photo:
        sensitivity = overlay.photo_sensitivity(sensitivity, thumbnail.size, spec)
        highlighted = overlay.spotlight(np.asarray(thumbnail), sensitivity)
    else:
        highlighted = overlay.highlight(pixels, sensitivity)
    return render_template(
        "result.html",
        result=result,
        ranking=ranking[:SHOWN_CLASSES],
        others=ranking[SHOWN_CLASSES:],
        model_version=services().model.version,
        is_tiny=is_tiny,
        photo_size=thumbnail.size,
        image=_shown(thumbnail),
        model_input=data_url(pixels),
        drives_on_photo=drives_on_photo,
        driving_place=overlay.strongest_place(sensitivity),
        highlighted=_shown(Image.fromarray(highlighted)) if drives_on_photo else data_url(highlighted),
        prediction=prediction,
    )


def data_url(pixels: np.ndarray) -> str:
    """Return pixels as a PNG in a data URL."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG")
    return _url("png", stream.getvalue())


def percent(share: float, digits: int = 0) -> str:
    """Format a share as a percentage that never rounds to a certainty: "over 99 %", not "100 %"."""
    smallest = 10**-digits
    over, under = (">", "<") if digits else ("over", "under")  # in a column of numbers; in a sentence
    if 100 - smallest / 2 <= share * 100 < 100:
        return f"{over} {100 - smallest:.{digits}f} %"
    if 0 < share * 100 < smallest / 2:
        return f"{under} {smallest:.{digits}f} %"
    return f"{share * 100:.{digits}f} %"


def _add_to_history(result: Classification, upload: Upload, jpeg: bytes | None) -> PastPrediction | None:
    """Store a result for the account that is still signed in; programs that ask for HTML leave nothing behind."""
    owner = services().session.account()
    if owner is None:
        return None
    history = services().history
    number = history.add(
        account=owner.name,
        request_id=g.request_id,
        picture_sha256=upload.sha256,
        model_version=services().model.version,
        predicted_class=result.predicted_class,
        confidence=result.confidence,
        decision=result.decision,
        jpeg=jpeg,
    )
    return None if number is None else history.find(number, owner.name)


def _is_tiny(image: Image.Image) -> bool:
    return max(image.size) <= TINY_SIDE


def _shown(image: Image.Image) -> str:
    """Return an image in a data URL: as a PNG where the page enlarges its pixels, and as a smaller JPEG elsewhere."""
    return data_url(np.asarray(image)) if _is_tiny(image) else _url("jpeg", _jpeg(image, SHOWN_QUALITY))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
