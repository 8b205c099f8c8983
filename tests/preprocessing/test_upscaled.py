"""An image whose content is 28 x 28 grey pixels gives these pixels, whatever it was saved as; nothing else does."""

import io
from collections.abc import Callable

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from fashion.benchmarks import renderings, scenes
from fashion.data.fashion_mnist.idx_files import load_idx_files
from fashion.inference.predictor import Predictor
from fashion.paths import PRETRAINED
from fashion.preprocessing.fashion_mnist.spec import INPUT
from fashion.preprocessing.fashion_mnist.upscaled import MAX_SIDE, restore
from fashion.preprocessing.model_input import ModelInput
from fashion.preprocessing.prepare import read_bytes

Save = Callable[[np.ndarray], bytes]
UNCHANGED = "used as is: 28 x 28 grey"
NEGATED = "negated: its background is light"


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def imsave(pixels: np.ndarray, colour_map: str, low: int | None = 0, high: int | None = 255) -> bytes:
    stream = io.BytesIO()
    plt.imsave(stream, pixels, cmap=colour_map, vmin=low, vmax=high)
    return stream.getvalue()


def resized(pixels: np.ndarray, side: int, method: Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), method))


def prepared(content: bytes) -> ModelInput:
    return read_bytes(content, INPUT)


@pytest.fixture(scope="module")
def test_set(fashion_mnist_root):
    return load_idx_files(fashion_mnist_root, download=False)


@pytest.fixture(scope="module")
def images(test_set):
    return test_set.test_images[:5]


MODES: dict[str, Save] = {
    "1": lambda pixels: encoded(Image.fromarray(pixels > 90)),
    "L": encoded,
    "LA": lambda pixels: encoded(Image.fromarray(pixels).convert("LA")),
    "P, grey": lambda pixels: encoded(Image.fromarray(pixels).convert("P")),
    "P, adaptive": lambda pixels: encoded(Image.fromarray(pixels).convert("RGB").convert("P", palette=1, colors=256)),
    "RGB": lambda pixels: encoded(Image.fromarray(pixels).convert("RGB")),
    "RGBA": lambda pixels: encoded(Image.fromarray(pixels).convert("RGBA")),
    "16 bits": lambda pixels: encoded(pixels.astype(np.uint16) * 257),
    "16 bits, of which 8 are used": lambda pixels: encoded(pixels.astype(np.uint16)),
    "WebP": lambda pixels: encoded(Image.fromarray(pixels), "WEBP", lossless=True),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_pixels(mode, images):
    for pixels in images:
        saved = np.where(pixels > 90, np.uint8(255), np.uint8(0)) if mode == "1" else pixels
        found = prepared(MODES[mode](pixels))
        assert np.array_equal(found.pixels[..., 0], saved)
        assert found.steps == (UNCHANGED,)
        found = prepared(MODES[mode](255 - pixels))
        assert found.steps == (UNCHANGED, NEGATED)
        if mode != "1":
            assert np.array_equal(found.pixels[..., 0], pixels)


@pytest.mark.parametrize("colour_map", ["viridis", "plasma", "inferno", "magma", "cividis"])
def test_a_colour_map_is_converted_to_grey(colour_map, images):
    converted = f"colours of {colour_map} converted to grey"
    for pixels in images:
        found, reverse = prepared(imsave(pixels, colour_map)), prepared(imsave(pixels, f"{colour_map}_r"))
        assert found.steps == (UNCHANGED, converted)
        assert reverse.steps == (UNCHANGED, converted, NEGATED)
        for each in (found, reverse):
            assert np.abs(each.pixels[..., 0].astype(int) - pixels).max() <= 2  # some colours of a map occur twice


UPSCALED: dict[str, tuple[float, Callable[[np.ndarray, int], np.ndarray]]] = {
    "nearest": (0, lambda pixels, side: resized(pixels, side, Resampling.NEAREST)),
    "bilinear": (1, lambda pixels, side: resized(pixels, side, Resampling.BILINEAR)),
    "bicubic": (1, lambda pixels, side: resized(pixels, side, Resampling.BICUBIC)),
    "Lanczos": (1.5, lambda pixels, side: resized(pixels, side, Resampling.LANCZOS)),
    "nearest, cv2": (0, lambda pixels, side: cv2.resize(pixels, (side, side), interpolation=cv2.INTER_NEAREST)),
    "bilinear, cv2": (1, lambda pixels, side: cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)),
    "bicubic, cv2": (1, lambda pixels, side: cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC)),
}


@pytest.mark.parametrize("side", [56, 131, 280, MAX_SIDE])
@pytest.mark.parametrize("method", UPSCALED)
def test_an_upscaled_image_is_restored(method, side, images):
    tolerance, upscale = UPSCALED[method]
    for pixels in images:
        found = prepared(encoded(upscale(pixels, side)))
        interpolation = method.removesuffix(", cv2")
        assert found.steps == (f"restored to 28 x 28 from {side} x {side} ({interpolation} interpolation)",)
        assert np.abs(found.pixels[..., 0].astype(int) - pixels).mean() <= tolerance


def test_an_image_that_was_decoded_at_a_reduced_scale_is_restored(images):
    found = prepared(encoded(resized(images[0], 1280, Resampling.BICUBIC), "JPEG"))
    assert found.steps[0] == "decoded at 640 x 640 instead of 1280 x 1280"
    assert found.steps[1].startswith("restored to 28 x 28 from 640 x 640")
    assert np.abs(found.pixels[..., 0].astype(int) - images[0]).mean() <= 1


def test_colour_maps_before_and_after_upscaling(images):
    for pixels in images:
        coloured = Image.open(io.BytesIO(imsave(pixels, "magma_r")))
        for content in (
            encoded(coloured.resize((140, 140), Resampling.BICUBIC)),
            imsave(resized(pixels, 140, Resampling.BICUBIC), "magma_r"),
        ):
            found = prepared(content)
            assert found.steps[0].startswith("restored to 28 x 28 from 140 x 140")
            assert found.steps[1:] == ("colours of magma converted to grey", NEGATED)
            assert np.abs(found.pixels[..., 0].astype(int) - pixels).mean() <= 2


# Points of accuracy that a form may cost; plt.imsave stretches each image to the full range.
FORMS: dict[str, tuple[float, Save]] = {
    "imsave binary": (1, lambda pixels: imsave(pixels, "binary", None, None)),
    "imsave viridis": (1, lambda pixels: imsave(pixels, "viridis", None, None)),
    "bicubic, 224": (2, lambda pixels: encoded(resized(pixels, 224, Resampling.BICUBIC))),
    "bilinear, 32, cv2": (2, lambda pixels: encoded(cv2.resize(pixels, (32, 32)))),
    "JPEG 90, 140": (2, lambda pixels: encoded(resized(pixels, 140, Resampling.BICUBIC), "JPEG", quality=90)),
}


@pytest.mark.slow
def test_no_form_costs_accuracy(test_set):
    images, labels = test_set.test_images[:100], test_set.test_labels[:100]
    predictor, _ = Predictor.load(PRETRAINED)

    def accuracy(pixels: np.ndarray) -> float:
        return 100 * float(np.mean(predictor.probabilities(pixels[..., np.newaxis]).argmax(axis=1) == labels))

    reference = accuracy(images)
    for name, (points, save) in FORMS.items():
        assert accuracy(np.stack([prepared(save(pixels)).pixels[..., 0] for pixels in images])) >= reference - points, (
            name
        )


def test_photos_and_products_are_not_restored(test_set):
    shown = [Image.fromarray(scenes.render(test_set.test_images[each.position], each)) for each in scenes.SCENES]
    for pixels in test_set.test_images[:6]:
        product = Image.open(io.BytesIO(renderings.render(pixels, np.random.default_rng(0))))
        page = Image.new("L", (max(product.size) + 40,) * 2, product.getpixel((0, 0)))
        page.paste(product, (20, 20))
        shown.append(page)
    for image in shown:
        for side in (32, 56, 100, 224, 400, 640):
            small = image.resize((side, side), Resampling.BICUBIC)
            assert restore(small) is None
            assert restore(small.convert("L")) is None


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (4000, 3000)),
        Image.new("L", (MAX_SIDE + 1, MAX_SIDE + 1)),
        Image.new("L", (56, 84)),
        Image.new("L", (14, 14)),
        Image.new("L", (100, 100), 90),
        Image.merge("RGB", [Image.effect_noise((28, 28), 60) for _ in range(3)]),
        Image.effect_noise((100, 100), 60),
        Image.radial_gradient("L").crop((20, 20, 60, 60)),
    ],
    ids=["12 megapixels", "too large", "oblong", "too small", "one grey", "coloured", "noise", "gradient, 40"],
)
def test_nothing_else_is_restored(image):
    assert restore(image) is None
