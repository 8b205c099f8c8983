"""The numbers as a page that stands by itself: no script, no other file."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fashion.card import Card
from fashion.data.fashion_mnist import CLASSES
from fashion.files import write_json, write_text
from fashion.inference.attribution import occlusion
from fashion.inference.predictor import Predictor
from fashion.pages import rendered
from fashion.runs.folder import METRICS_FILE, REPORT_FILE

# What an answer hangs on is laid over the picture in this colour, the page's accent.
OVERLAY = np.array([224, 122, 63], np.float32)
MOST_OVERLAY = 0.85
# Of the coverage diagram: its foot is a multiple of this, so that its four steps are multiples of 5 %.
FOOT_STEP = 0.2


def write(
    folder: Path,
    about: dict[str, Any],
    content: dict[str, Any],
    pictures: list[dict[str, str]],
    heat_map: Path | None = None,
) -> None:
    """Write ``report.html`` and ``metrics.json``.

    Args:
        folder: Where both go.
        about: What the artifact is, as the function ``about`` returned it.
        content: What ``measurement.measure`` returned and, where there are, ``validation``, ``strangers``, ``cost``,
            ``comparison`` and ``robustness``.
        pictures: Of the mistakes, as ``gallery`` returned them.
        heat_map: A PNG of the robustness.

    Raises:
        InputError: When a file cannot be written.
    """
    write_json(folder / METRICS_FILE, {"artifact": about, **content})
    page = rendered(
        "fashion.evaluation",
        "report.html",
        about=about,
        classes=CLASSES,
        heat_map=_data_url(heat_map.read_bytes()) if heat_map else None,
        pictures=pictures,
        foot=min(content["coverage"]["accuracy"]) // FOOT_STEP * FOOT_STEP,
        **{"strangers": None, "cost": {}, "comparison": None, "robustness": None, "abstention": None, **content},
    )
    write_text(folder / REPORT_FILE, page)


def about(card: Card, name: str, path: str) -> dict[str, Any]:
    """Return what the head of the page says of an artifact.

    Args:
        card: Its card.
        name: Of the network.
        path: Of the model file.
    """
    told = card.model_dump(include={"backend", "epochs", "seed", "created"})
    return {"name": name, "path": path, "version": card.version, **told}


def gallery(predictor: Predictor, images: np.ndarray, mistakes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return data URLs of each mistake's picture, and of what spoke for the wrong answer.

    Args:
        predictor: Whose mistakes they are.
        images: ``(n, 28, 28)`` uint8, the test images.
        mistakes: As ``measurement.mistakes`` returned them.
    """
    shown = []
    for mistake in mistakes:
        image = images[mistake["image"]]
        strength = occlusion(predictor.probabilities, image, CLASSES.index(mistake["predicted"]))
        shown.append({"plain": _png(image), "overlaid": _png(overlaid(image, strength))})
    return shown


def overlaid(image: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Return ``(28, 28, 3)`` uint8: a picture, ``(28, 28)`` uint8, coloured where ``(28, 28)`` in [0, 1] says so."""
    share = MOST_OVERLAY * strength[..., np.newaxis]
    return np.round((1 - share) * image[..., np.newaxis] + share * OVERLAY).astype(np.uint8)


def _png(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return _data_url(stream.getvalue())


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
