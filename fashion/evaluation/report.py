"""The report of a model: ``report.html``, a page without scripts or other files, and ``metrics.json``."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fashion.arrays import HeatMap, RgbImage
from fashion.arrays import Image as ImageArray
from fashion.data import image_rows
from fashion.data.dataset import PixelStatistics
from fashion.evaluation.records import Measurement, Mistake, to_json
from fashion.files import write_json, write_text
from fashion.html_report import render_report
from fashion.inference.attribution import occlusion_sensitivity
from fashion.inference.predictor import Predictor
from fashion.palette import ACCENT, rgb
from fashion.runs.folder import METRICS_FILE, REPORT_FILE

MAX_OPACITY = 0.85  # of the colour laid over the pixels that a prediction depends on
# The lower end of the coverage chart's axis is a multiple of this, so that its four steps are multiples of 5 %.
AXIS_STEP = 0.2


class MistakeImages(NamedTuple):
    """Data URLs of a misclassified image, and of the same with the pixels marked that the prediction depends on."""

    plain: str
    marked: str


def write(
    folder: Path, measured: Measurement, gallery: Sequence[MistakeImages] = (), heat_map: Path | None = None
) -> None:
    """Write ``report.html`` and ``metrics.json``.

    Args:
        folder: Where both are written.
        measured: What they report.
        gallery: Images of the mistakes, as ``mistake_images`` returned them.
        heat_map: A PNG file of the robustness.

    Raises:
        WriteError: When a file cannot be written.
    """
    write_json(folder / METRICS_FILE, to_json(measured))
    page = render_report(
        "fashion.evaluation",
        "report.html",
        measured=measured,
        heat_map=_data_url(heat_map.read_bytes()) if heat_map else None,
        gallery=gallery,
        lowest_accuracy=min(measured.coverage.accuracy) // AXIS_STEP * AXIS_STEP,
    )
    write_text(folder / REPORT_FILE, page)


def mistake_images(
    predictor: Predictor,
    images: image_rows.ImageArray,
    mistakes: Sequence[Mistake],
    classes: Sequence[str],
    pixels: PixelStatistics,
) -> list[MistakeImages]:
    """Return images of mistakes, plain and with the pixels marked that supported the wrong prediction.

    Args:
        predictor: The model that made the mistakes.
        images: The test images.
        mistakes: Which of them.
        classes: Names of the classes.
        pixels: Statistics of the training images.
    """
    shown = []
    for mistake in mistakes:
        image = images[mistake.image]
        predicted = classes.index(mistake.predicted)
        sensitivity = occlusion_sensitivity(predictor.probabilities, image, predicted, pixels.mean)
        rgb_image = np.broadcast_to(image, (*image.shape[:2], 3))
        shown.append(MistakeImages(_png(rgb_image), _png(overlaid(image, sensitivity))))
    return shown


def overlaid(image: ImageArray, sensitivity: HeatMap) -> RgbImage:
    """Return an image, coloured in proportion to the sensitivity of each pixel."""
    opacity = MAX_OPACITY * sensitivity[..., np.newaxis]
    colour = np.array(rgb(ACCENT), np.float32)
    return np.round((1 - opacity) * image + opacity * colour).astype(np.uint8)


def _png(pixels: RgbImage) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return _data_url(stream.getvalue())


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
