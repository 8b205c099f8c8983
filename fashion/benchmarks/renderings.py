"""Shop images made from the test images: are they classified like the 28 x 28 originals?

The data set was made from shop images, so the way back is known: a rendering is a test image enlarged, on near-white,
with margins, as a JPEG.
"""

import io
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypedDict

import numpy as np
from PIL import Image

from fashion import machine
from fashion.benchmarks.photo_accuracy import PACKAGES, Preprocess
from fashion.inference.predictor import Predictor
from fashion.inference.tta import predict_with_tta
from fashion.preprocessing import decode
from fashion.preprocessing.fashion_mnist import prepare, product
from fashion.preprocessing.model_input import ModelInput

SCALES, BACKGROUNDS, QUALITIES = (8, 20), (240, 255), (75, 95)  # smallest and largest, both included
MAX_MARGIN = 0.4  # of the side of the enlarged image, at each of its edges
BATCH = 500


class FormatAccuracy(TypedDict):
    """Test images sent in one format.

    ``same_pixels`` counts those whose model input has the pixels of the original, ``same_class`` those that get the
    class of the original, ``as_photo`` those that are mistaken for photos; ``milliseconds`` is the median to decode and
    prepare one.
    """

    accuracy: float
    same_pixels: int
    same_class: int
    as_photo: int
    milliseconds: float


class RenderingAccuracy(TypedDict):
    """The result of the benchmark; ``accuracy`` is that of the arrays themselves."""

    machine: machine.MachineDescription
    images: int
    accuracy: float
    formats: dict[str, FormatAccuracy]


def render(pixels: np.ndarray, random: np.random.Generator) -> bytes:
    """Return a test image as a JPEG of a product on near-white.

    Args:
        pixels: ``(28, 28)`` uint8, 0-255, light on black.
        random: Draws scale, background, margins and quality.
    """
    side = 28 * int(random.integers(*SCALES, endpoint=True))
    large = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
    margins = random.integers(0, round(MAX_MARGIN * side), (2, 2), endpoint=True)
    background = int(random.integers(*BACKGROUNDS, endpoint=True))
    page = np.round(background * (1 - np.pad(large, margins) / 255)).astype(np.uint8)
    return _encode(page, "JPEG", quality=int(random.integers(*QUALITIES, endpoint=True)))


def measure(images: np.ndarray, labels: np.ndarray, predictor: Predictor) -> RenderingAccuracy:
    """Classify test images sent as PNG files, and rendered as products, which are preprocessed in two ways.

    Args:
        images: ``(n, 28, 28)`` uint8, 0-255.
        labels: ``(n,)`` int64, their classes.
        predictor: The model.
    """
    expected = predictor.probabilities(images[..., np.newaxis]).argmax(axis=1)

    def accuracy(encode: Callable[[np.ndarray], bytes], preprocess: Preprocess) -> FormatAccuracy:
        return _measure_format(map(encode, images), preprocess, images, labels, expected, predictor)

    def renderer() -> Callable[[np.ndarray], bytes]:
        return partial(render, random=np.random.default_rng(0))  # the same renderings for both

    return {
        "machine": machine.describe_machine(PACKAGES),
        "images": len(images),
        "accuracy": float(np.mean(expected == labels)),
        "formats": {
            "28 x 28 PNG": accuracy(partial(_encode, kind="PNG"), prepare),
            "product on near-white": accuracy(renderer(), prepare),
            "its seven steps alone": accuracy(renderer(), product.fashion_mnist_pipeline),
        },
    }


def _measure_format(
    files: Iterable[bytes],
    preprocess: Preprocess,
    images: np.ndarray,
    labels: np.ndarray,
    expected: np.ndarray,
    predictor: Predictor,
) -> FormatAccuracy:
    prepared: list[ModelInput] = []
    times = []
    for content in files:
        start = time.perf_counter()
        prepared.append(preprocess(decode.decode(io.BytesIO(content))))
        times.append(time.perf_counter() - start)
    parts = [prepared[start : start + BATCH] for start in range(0, len(prepared), BATCH)]
    predicted = np.concatenate(
        [predict_with_tta(part, predictor.predict).probabilities.argmax(axis=1) for part in parts]
    )
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "same_pixels": sum(
            np.array_equal(each.pixels[..., 0], image) for each, image in zip(prepared, images, strict=True)
        ),
        "same_class": int(np.sum(predicted == expected)),
        "as_photo": sum(each.is_photo for each in prepared),
        "milliseconds": 1000 * float(np.median(times)),
    }


def _encode(pixels: np.ndarray, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def table(result: RenderingAccuracy) -> str:
    """Return the result as the lines that a terminal shows."""
    lines = [
        machine.summarise_machine(result["machine"], result["machine"]["versions"]),
        f"{result['images']} test images; accuracy on the arrays themselves: {result['accuracy']:.2%}",
        "",
        f"{'sent as':<24}{'accuracy':>9}{'same pixels':>13}{'same class':>12}{'mistaken for photos':>21}{'ms':>7}",
    ]
    for name, found in result["formats"].items():
        counts = f"{found['same_pixels']:>13,}{found['same_class']:>12,}{found['as_photo']:>21,}"
        lines.append(f"{name:<24}{found['accuracy']:>9.2%}{counts}{found['milliseconds']:>7.1f}")
    return "\n".join(lines)
