"""A few test images for the card of a model, so that its page has something to try it on."""

import base64
import io

import numpy as np
from PIL import Image

from fashion.card import ExampleEntry
from fashion.data.dataset import Dataset

MAX_EXAMPLES = 6
MAX_PNG_SIDE = 64  # pixels; larger images are JPEG files, a tenth of the size
JPEG_QUALITY = 92


def example_images(data: Dataset) -> list[ExampleEntry]:
    """Return the first test image of each of a few classes, evenly chosen."""
    labels = np.unique(data.test.labels)
    chosen = labels[np.linspace(0, len(labels) - 1, min(MAX_EXAMPLES, len(labels))).round().astype(int)]
    rows = [int(np.argmax(data.test.labels == label)) for label in chosen]
    return [
        ExampleEntry(label=data.classes[label], file=_encoded(np.asarray(data.test.images[row])))
        for label, row in zip(chosen, rows, strict=True)
    ]


def _encoded(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if max(image.size) <= MAX_PNG_SIDE:
        image.save(stream, "PNG", optimize=True)
    else:
        image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(stream.getvalue()).decode()
