"""An answer as people see it: the picture, what the model saw of it, and how sure it is."""

import base64
import io
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from flask import g, render_template
from PIL import Image

from fashion import palette
from fashion.inference import attribution
from fashion.preprocessing import decode, rgb
from fashion.server.security import session
from fashion.server.service.admission import work
from fashion.server.service.uploads import LARGE_PIXELS, Upload
from fashion.server.storage.prediction_history import Prediction, predictions

SHOWN_SIDE, KEPT_SIDE = 512, 1024  # pixels
TINY_SIDE = 64  # shown with its pixels, rather than blurred
SHOWN_QUALITY, KEPT_QUALITY = 80, 85


def thumbnail(stream: IO[bytes]) -> Image.Image:
    """Read a picture that was classified once more, upright and small, to be shown beside the answer.

    To be called in a workplace.
    """
    stream.seek(0)
    picture = decode.open_checked(stream.read())
    with work().large(picture.width * picture.height > LARGE_PIXELS):
        decode.load(picture, KEPT_SIDE)
        picture = rgb.upright(picture)
        picture.thumbnail((KEPT_SIDE, KEPT_SIDE))
    # Made anew: nothing of the file that was sent goes on with it but the pixels.
    return Image.fromarray(np.asarray(picture))


def marked(predict: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, class_index: int) -> np.ndarray:
    """Return what the model saw, with those parts coloured that its answer hangs on.

    Args:
        predict: Images to probabilities; asked about some hundred.
        pixels: ``(28, 28)`` uint8, 0-255.
        class_index: The answer.

    Returns:
        ``(28, 28, 3)`` uint8, 0-255, RGB.
    """
    sensitivity = attribution.occlusion_sensitivity(predict, pixels, class_index)
    weight = sensitivity[..., np.newaxis] ** 2  # emphasises the strongest
    grey = np.repeat(pixels[..., np.newaxis] * 0.6, 3, axis=2)
    coloured = np.array(palette.rgb(palette.HIGHLIGHT)) * (0.45 + 0.55 * pixels[..., np.newaxis] / 255)
    return (grey * (1 - weight) + coloured * weight).astype(np.uint8)


def page(result: dict[str, Any], upload: Upload, sent: Image.Image, marked: np.ndarray) -> str:
    """Return the page that shows an answer, and keep the answer for who is signed in.

    Args:
        result: The answer, as it goes to programs.
        upload: The picture as the model saw it.
        sent: The picture as it was sent, made small.
        marked: What the model saw, with what the answer hangs on.
    """
    owner = session.current()
    kept = _keep(owner.name, result, upload, sent) if owner is not None else None
    tiny = max(sent.size) <= TINY_SIDE
    sent.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return render_template(
        "result.html",
        result=result,
        ranking=sorted(result["probabilities"].items(), key=lambda item: -item[1]),
        tiny=tiny,
        sent=data_url(np.asarray(sent)) if tiny else _url("jpeg", _jpeg(sent, SHOWN_QUALITY)),
        seen=data_url(upload.prepared.pixels),
        marked=data_url(marked),
        prediction=kept,
    )


def data_url(pixels: np.ndarray) -> str:
    """Return pixels, such as the 28 x 28 that the model saw, as a PNG in a data URL."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return _url("png", stream.getvalue())


def percent(share: float, digits: int = 0) -> str:
    """Return a share as people read it; never as a certainty that it is not."""
    smallest = 10**-digits
    over, under = (">", "<") if digits else ("over", "under")  # in a column of numbers; in a sentence
    if 100 - smallest / 2 <= share * 100 < 100:
        return f"{over} {100 - smallest:.{digits}f} %"
    if 0 < share * 100 < smallest / 2:
        return f"{under} {smallest:.{digits}f} %"
    return f"{share * 100:.{digits}f} %"


def _keep(name: str, result: dict[str, Any], upload: Upload, sent: Image.Image) -> Prediction | None:
    known = predictions()
    number = known.add(
        name,
        g.request_id,
        upload.sha256,
        result["model"]["version"],
        result["predicted_class"],
        result["confidence"],
        result["decision"],
        _jpeg(sent, KEPT_QUALITY) if known.keeps_pictures else None,
    )
    return known.find(number, name)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
