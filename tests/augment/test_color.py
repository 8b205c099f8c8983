"""Colour operations and tone curves against Pillow's, on either backend."""

import colorsys

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image, ImageEnhance, ImageOps

from fashion.augment.color import adjust_chroma, adjust_color, sharpen
from fashion.augment.tone_curves import ToneCurves

pytestmark = pytest.mark.backend


class Operation(keras.layers.Layer):
    """An operation on images as a layer."""

    def __init__(self, operation) -> None:
        super().__init__()
        self.operation = operation

    def call(self, images, training=False):
        return self.operation(images)


@pytest.fixture(scope="module")
def levels() -> np.ndarray:
    """A colour image of few tones, ``(24, 24, 3)`` uint8, from dark to bright but not to black and white."""
    smooth = np.add.outer(np.arange(24), np.arange(24))[..., np.newaxis] * np.array([4, 3, 2])
    return (30 + smooth + np.random.default_rng(0).integers(0, 9, (24, 24, 3))).astype(np.uint8)


@pytest.fixture
def changed(transform, levels):
    """Apply an operation to the image, in a batch after a black one; return levels, not rounded."""

    def call(operation) -> np.ndarray:
        batch = np.stack([np.zeros_like(levels), levels]).astype(np.float32) / 255
        return transform(Operation(operation), batch)[1] * 255

    return call


def second(value: float) -> np.ndarray:
    """A factor for the image, and no change for the one before it."""
    return np.array([1, value], np.float32).reshape(2, 1, 1, 1)


ONE = second(1.0)
ENHANCED = [
    ("Brightness", lambda images, factor: adjust_color(images, factor, ONE, ONE, 0.0)),
    ("Contrast", lambda images, factor: adjust_color(images, ONE, factor, ONE, 0.0)),
    ("Color", lambda images, factor: adjust_color(images, ONE, ONE, factor, 0.0)),
    ("Sharpness", sharpen),
]


@pytest.mark.parametrize(("name", "operation"), ENHANCED, ids=[name for name, _ in ENHANCED])
def test_a_factor_means_what_it_means_in_pillow(changed, levels, name, operation):
    for factor in (0.4, 1.7):
        found = changed(lambda images, factor=factor: operation(images, second(factor)))
        expected = np.asarray(getattr(ImageEnhance, name)(Image.fromarray(levels)).enhance(factor))
        assert np.abs(found - expected).max() < 1.6  # Pillow rounds the mean and the result


def curves(method: str, *arguments):
    def operation(images):
        made = ToneCurves(images)
        getattr(made, method)(np.array([False, True]).reshape(2, 1, 1), *arguments)
        return made.apply()

    return operation


@pytest.mark.parametrize(
    ("method", "arguments", "pillow", "tolerance"),
    [
        ("autocontrast", (), ImageOps.autocontrast, 1),  # Pillow rounds down
        ("equalize", (), ImageOps.equalize, 1e-3),
        ("posterize", (5,), lambda image: ImageOps.posterize(image, 5), 1e-3),
        ("solarize", (100 / 255,), lambda image: ImageOps.solarize(image, 100), 1e-3),
    ],
)
def test_a_tone_curve_is_pillow_s(changed, levels, method, arguments, pillow, tolerance):
    assert np.abs(changed(curves(method, *arguments)) - np.asarray(pillow(Image.fromarray(levels)))).max() <= tolerance


def test_brightness_and_contrast_of_tone_curves_are_those_of_colours(changed):
    factors = np.array([1, 1.05], np.float32).reshape(2, 1, 1)

    def operation(images):
        made = ToneCurves(images)
        made.brighten(factors)
        made.stretch(factors)
        return made.apply() - adjust_color(images, factors[..., None], factors[..., None], ONE, 0.0)

    assert np.abs(changed(operation)).max() < 1e-3


def test_equal_pixels_keep_their_level(transform):
    flat = np.full((2, 8, 8, 1), 100 / 255, np.float32)
    for method in ("autocontrast", "equalize"):
        assert np.allclose(transform(Operation(curves(method)), flat), flat, atol=1e-6)


def test_the_hue_turns_and_luma_stays(changed, levels):
    turned = changed(lambda images: adjust_chroma(images, ONE, 0.05)) / 255
    original = levels / 255
    luma = np.array([0.299, 0.587, 0.114])
    assert np.allclose(turned @ luma, original @ luma, atol=1e-3)
    hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in original.reshape(-1, 3)]
    turned_hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in turned.reshape(-1, 3)]
    turns = (np.subtract(turned_hues, hues) + 0.5) % 1 - 0.5
    assert 0.03 < np.abs(np.median(turns)) < 0.08


def test_two_half_turns_are_none(changed, levels):
    def operation(images):
        return adjust_chroma(adjust_chroma(images, ONE, 0.5), ONE, 0.5)

    assert np.abs(changed(operation) - levels).max() < 0.05


def test_one_channel_has_no_chroma():
    images = np.random.default_rng(0).random((2, 4, 4, 1), dtype=np.float32)
    assert np.array_equal(ops.convert_to_numpy(adjust_chroma(images, second(0.3), 0.2)), images)
