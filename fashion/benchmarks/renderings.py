"""Pictures as shops show them, made from the test images: do they get the answers that the 28 x 28 originals get?

The data set was made from such pictures, so the way back is known: what a test image shows, large, on near-white, with
margins, as a JPEG.
"""

import io
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fashion import machine
from fashion.benchmarks.photo_accuracy import PACKAGES
from fashion.inference.predictor import Predictor
from fashion.inference.tta import predict_with_tta
from fashion.preprocessing import decode, product
from fashion.preprocessing.model_input import ModelInput
from fashion.preprocessing.prepare import prepare as prepare_image

SCALES, GROUNDS, QUALITIES = (8, 20), (240, 255), (75, 95)  # least and greatest, both drawn
MOST_MARGIN = 0.4  # of the side of the enlarged image, at each of its edges
BATCH = 500


class Measured(NamedTuple):
    """How a way of sending the test images was answered."""

    accuracy: float
    same_pixels: int
    same_class: int
    as_photo: int
    milliseconds: float


def rendered(pixels: np.ndarray, random: np.random.Generator) -> bytes:
    """Return what a test image shows as a JPEG of a product on near-white.

    Args:
        pixels: ``(28, 28)`` uint8, 0-255, light on black.
        random: Draws scale, ground, margins and quality.
    """
    side = 28 * int(random.integers(*SCALES, endpoint=True))
    large = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
    margins = random.integers(0, round(MOST_MARGIN * side), (2, 2), endpoint=True)
    ground = int(random.integers(*GROUNDS, endpoint=True))
    page = np.round(ground * (1 - np.pad(large, margins) / 255)).astype(np.uint8)
    return _encoded(page, "JPEG", quality=int(random.integers(*QUALITIES, endpoint=True)))


def measure(images: np.ndarray, labels: np.ndarray, predictor: Predictor) -> dict[str, Any]:
    """Answer test images as they are, as PNG files, and rendered as products, which are prepared in two ways.

    Args:
        images: ``(n, 28, 28)`` uint8.
        labels: ``(n,)`` their classes.
        predictor: The model.

    Returns:
        The machine, ``accuracy`` of the arrays themselves, and under ``ways``, for each kind of file, its accuracy, how
        many came out with the very same pixels, got the class that the array gets, or were taken for photos, and the
        median of the milliseconds to decode and prepare one.
    """
    expected = predictor.probabilities(images).argmax(axis=1)

    def way(render: Callable[[np.ndarray], bytes], prepare: Callable[[Image.Image], ModelInput]) -> dict[str, Any]:
        return _way(map(render, images), prepare, images, labels, expected, predictor)._asdict()

    def product_page() -> Callable[[np.ndarray], bytes]:
        return partial(rendered, random=np.random.default_rng(0))  # the same pages for both

    return {
        "machine": machine.described(PACKAGES),
        "images": len(images),
        "accuracy": float(np.mean(expected == labels)),
        "ways": {
            "28 x 28 PNG": way(partial(_encoded, kind="PNG"), prepare_image),
            "product on near-white": way(product_page(), prepare_image),
            "its seven steps alone": way(product_page(), product.fashion_mnist_pipeline),
        },
    }


def _way(
    sent: Iterable[bytes],
    prepare: Callable[[Image.Image], ModelInput],
    images: np.ndarray,
    labels: np.ndarray,
    expected: np.ndarray,
    predictor: Predictor,
) -> Measured:
    prepared: list[ModelInput] = []
    times = []
    for content in sent:
        start = time.perf_counter()
        prepared.append(prepare(decode.decode(io.BytesIO(content))))
        times.append(time.perf_counter() - start)
    parts = [prepared[start : start + BATCH] for start in range(0, len(prepared), BATCH)]
    answers = np.concatenate([predict_with_tta(part, predictor.predict).probabilities.argmax(axis=1) for part in parts])
    return Measured(
        accuracy=float(np.mean(answers == labels)),
        same_pixels=sum(np.array_equal(each.pixels, image) for each, image in zip(prepared, images, strict=True)),
        same_class=int(np.sum(answers == expected)),
        as_photo=sum(each.is_photo for each in prepared),
        milliseconds=1000 * float(np.median(times)),
    )


def _encoded(pixels: np.ndarray, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def table(result: dict[str, Any]) -> str:
    """Return the result as the lines that a terminal shows."""
    lines = [
        machine.in_one_line(result["machine"]),
        f"{result['images']} test images, {result['accuracy']:.2%} of them answered rightly as arrays",
        "",
        f"{'sent as':<24}{'accuracy':>9}{'same pixels':>13}{'same class':>12}{'taken for photos':>18}{'ms':>7}",
    ]
    for name, way in result["ways"].items():
        counts = f"{way['same_pixels']:>13,}{way['same_class']:>12,}{way['as_photo']:>18,}"
        lines.append(f"{name:<24}{way['accuracy']:>9.2%}{counts}{way['milliseconds']:>7.1f}")
    return "\n".join(lines)
