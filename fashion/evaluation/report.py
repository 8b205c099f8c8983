"""The report of a model: ``report.html``, a page without scripts or other files, and ``metrics.json``."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fashion.arrays import ConfusionMatrix, HeatMap, RgbImage
from fashion.arrays import Image as ImageArray
from fashion.data import image_rows
from fashion.data.dataset import PixelStatistics
from fashion.evaluation.comparison import RECALL_OF
from fashion.evaluation.records import ComparisonRow, CoverageCurve, Measurement, Mistake, to_json
from fashion.figures import reduced
from fashion.files import write_json, write_text
from fashion.html_report import render_report
from fashion.inference.attribution import occlusion_sensitivity
from fashion.inference.predictor import Predictor
from fashion.palette import ACCENT, PRIMARY, rgb
from fashion.runs.folder import METRICS_FILE, REPORT_FILE

MAX_OPACITY = 0.85  # of the colour laid over the pixels that a prediction depends on
# The lower end of the coverage chart's axis is a multiple of this, so that its four steps are multiples of 5 %.
AXIS_STEP = 0.2
SHARES_ANSWERED = (0.5, 0.8, 0.9)  # whose accuracy the text quotes

# With more classes than this, tables are cut to so many rows, and the matrix is an image.
MAX_ROWS = 20
MAX_CONFUSED = 12
MAX_MISTAKE_SIDE = 224  # pixels; larger images are reduced
SMALL_SIDE = 64  # smaller images are shown pixel by pixel, in PNG files; others as JPEG files, a tenth of the size
JPEG_QUALITY = 88


class MistakeImages(NamedTuple):
    """A misclassified image, and the same with the pixels marked that the prediction depends on.

    Attributes:
        plain: Data URL.
        marked: Data URL.
        small: Whether its pixels are to be seen.
    """

    plain: str
    marked: str
    small: bool


class ConfusedPair(NamedTuple):
    """How often a class is taken for another one: the number of images, and their share of the true class."""

    true: str
    predicted: str
    images: int
    share: float


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
    counts = np.array(measured.confusion)
    many = len(measured.classes) > MAX_ROWS
    page = render_report(
        "fashion.evaluation",
        "report.html",
        measured=measured,
        heat_map=_data_url(heat_map.read_bytes()) if heat_map else None,
        gallery=gallery,
        many_classes=many,
        max_rows=MAX_ROWS,
        by_recall=sorted(measured.per_class, key=lambda row: (not row.images, row.recall)),
        class_sizes=_class_sizes(measured),
        confused=most_confused(counts, measured.classes),
        matrix=_matrix_image(counts) if many else None,
        most_different=_most_different(measured),
        answered=[_nearest(measured.coverage, share) for share in SHARES_ANSWERED],
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
        small = max(image.shape[:2]) <= SMALL_SIDE
        plain = np.broadcast_to(image, (*image.shape[:2], 3))
        shown.append(MistakeImages(_encoded(plain, small), _encoded(overlaid(image, sensitivity), small), small))
    return shown


def most_confused(counts: ConfusionMatrix, classes: Sequence[str]) -> list[ConfusedPair]:
    """Return the pairs of classes that are confused most often: by images, then by share; at least two images each."""
    wrong = counts - np.diag(np.diag(counts))
    shares = wrong / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    order = np.lexsort((-shares.ravel(), -wrong.ravel()))[:MAX_CONFUSED]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        ConfusedPair(classes[row], classes[column], int(wrong[row, column]), float(shares[row, column]))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[row, column] > 1
    ]


def _nearest(curve: CoverageCurve, share: float) -> tuple[float, float]:
    """Return the point of a curve that is nearest to a share of the images: its own share, and its accuracy."""
    points = zip(curve.coverage, curve.accuracy, strict=True)
    return min(points, key=lambda point: abs(point[0] - share))


def _class_sizes(measured: Measurement) -> tuple[int, int]:
    sizes = [row.images for row in measured.per_class if row.images]
    return min(sizes), max(sizes)


def _most_different(measured: Measurement) -> list[ComparisonRow]:
    """Return the rows about all images, and those of the classes in which the models differ most."""
    rows = list(measured.comparison.rows) if measured.comparison else []
    of_classes = [row for row in rows if row.name.startswith(RECALL_OF)]
    largest_first = sorted(of_classes, key=lambda row: -abs(row.difference))[:MAX_ROWS]
    return [row for row in rows if row not in of_classes] + largest_first


def _matrix_image(counts: ConfusionMatrix) -> str:
    """Return the matrix as an image of one pixel for each cell, transparent where there is nothing."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    colour = np.broadcast_to(np.array(rgb(PRIMARY)), (*shares.shape, 3))
    opacity = np.round(255 * np.sqrt(shares))[..., np.newaxis]
    return _data_url(_file(Image.fromarray(np.concatenate([colour, opacity], axis=2).astype(np.uint8)), "PNG"), "png")


def overlaid(image: ImageArray, sensitivity: HeatMap) -> RgbImage:
    """Return an image, coloured in proportion to the sensitivity of each pixel."""
    opacity = MAX_OPACITY * sensitivity[..., np.newaxis]
    colour = np.array(rgb(ACCENT), np.float32)
    return np.round((1 - opacity) * image + opacity * colour).astype(np.uint8)


def _encoded(pixels: RgbImage, small: bool) -> str:
    image = Image.fromarray(reduced(pixels, MAX_MISTAKE_SIDE))
    if small:
        return _data_url(_file(image, "PNG"), "png")
    return _data_url(_file(image, "JPEG", quality=JPEG_QUALITY), "jpeg")


def _file(image: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _data_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
