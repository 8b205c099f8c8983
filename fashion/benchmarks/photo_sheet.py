"""A page of the photos of ``photo_accuracy``: each with its segmentation, the model's input and the prediction."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from fashion.benchmarks.labelled_photos import LabelledPhoto
from fashion.benchmarks.photo_accuracy import OURS, Answer, PhotoAccuracy
from fashion.html_report import render_report
from fashion.preprocessing import rgb
from fashion.preprocessing.decode import decode_file
from fashion.preprocessing.fashion_mnist import prepare

THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 120, 70
BACKGROUND = 255  # of the segmented object


def sheet(photos: Sequence[LabelledPhoto], result: PhotoAccuracy) -> str:
    """Return the page as HTML, images included."""
    kinds: dict[str, list[dict[str, str]]] = {}
    for photo, answer in zip(photos, result["ways"][OURS]["answers"], strict=True):
        kinds.setdefault(photo.kind, []).append(_tile(photo, answer, result["classes"]))
    return render_report("fashion.benchmarks", "photos.html", kinds=kinds)


def _tile(photo: LabelledPhoto, answer: Answer, classes: Sequence[str]) -> dict[str, str]:
    image = decode_file(photo.path)
    prepared = prepare(image)
    thumbnail = rgb.reduced(image, THUMBNAIL_SIDE)
    segmented = np.asarray(thumbnail)
    if prepared.mask is not None:
        mask = Image.fromarray(prepared.mask).resize(thumbnail.size)
        segmented = np.where(np.asarray(mask)[..., np.newaxis], segmented, BACKGROUND).astype(np.uint8)
    abstained = answer["decision"] == "abstain"
    correct = abstained if answer["correct"] is None else answer["correct"]
    return {
        "name": photo.path.name,
        "photo": _data_url(thumbnail),
        "segmented": _data_url(Image.fromarray(segmented)),
        "input": _data_url(Image.fromarray(prepared.pixels[..., 0]), "PNG"),
        "answer": classes[answer["answer"]],
        "second": classes[answer["second"]],
        "confidence": f"{answer['confidence']:.0%}",
        "steps": "; ".join(answer["steps"]),
        "verdict": ("correct" if correct else "wrong") + (" abstained" if abstained else ""),
    }


def _data_url(image: Image.Image, kind: str = "JPEG") -> str:
    stream = io.BytesIO()
    image.save(stream, kind, quality=THUMBNAIL_QUALITY)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
