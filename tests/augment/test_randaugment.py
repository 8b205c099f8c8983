"""RandAugment: what each of its operations does to an image, on either backend."""

import keras
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import affine_transform

from fashion.augment.randaugment import OPERATIONS, RandAugment

pytestmark = pytest.mark.backend

SIDE = 24
COSINE, SINE = np.cos(np.pi / 12), np.sin(np.pi / 12)
SHIFT = 0.5 * 150 / 331 * SIDE


def randaugment(num_ops=1, magnitude=5.0, min_scale=1.0, max_aspect=1.0, flip=0.0, seed=0) -> RandAugment:
    return RandAugment(num_ops, magnitude, min_scale, max_aspect, flip, seed=seed)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A colour image of few tones, uint8."""
    smooth = np.add.outer(np.arange(SIDE), 2 * np.arange(SIDE))[..., np.newaxis] * np.array([2.5, 2, 1])
    return (30 + smooth + np.random.default_rng(0).integers(0, 9, (SIDE, SIDE, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def each(transform, image) -> dict[tuple[str, int], np.ndarray]:
    """The image after each operation alone, in both directions, at half of the greatest magnitude; levels."""
    numbers = np.arange(2 * len(OPERATIONS), dtype=np.int32).reshape(1, -1, 1, 1)
    images = np.repeat(image[np.newaxis], numbers.size, axis=0).astype(np.float32) / 255
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.random, "randint", lambda *args, **kwargs: numbers)
        results = transform(randaugment(), images)
    names = [(name, direction) for name in OPERATIONS for direction in (1, -1)]
    return dict(zip(names, results * 255, strict=True))


def test_colours_change_as_in_pillow(each, image):
    pillow = Image.fromarray(image)
    expected = {
        "identity": (pillow, pillow),
        "autocontrast": (ImageOps.autocontrast(pillow),) * 2,
        "equalize": (ImageOps.equalize(pillow),) * 2,
        "solarize": (ImageOps.solarize(pillow, 128),) * 2,
        "posterize": (ImageOps.posterize(pillow, 6),) * 2,
        "color": [ImageEnhance.Color(pillow).enhance(factor) for factor in (1.45, 0.55)],
        "contrast": [ImageEnhance.Contrast(pillow).enhance(factor) for factor in (1.45, 0.55)],
        "brightness": [ImageEnhance.Brightness(pillow).enhance(factor) for factor in (1.45, 0.55)],
        "sharpness": [ImageEnhance.Sharpness(pillow).enhance(factor) for factor in (1.45, 0.55)],
    }
    for name, both in expected.items():
        for direction, result in zip((1, -1), both, strict=True):
            assert np.abs(each[name, direction] - np.asarray(result)).max() < 1.6, (name, direction)


@pytest.mark.parametrize(
    ("name", "matrix", "shift"),
    [
        ("rotate", [[COSINE, SINE], [-SINE, COSINE]], [0, 0]),
        ("shear_x", [[1, 0], [0.15, 1]], [0, 0]),
        ("shear_y", [[1, 0.15], [0, 1]], [0, 0]),
        ("translate_x", [[1, 0], [0, 1]], [0, SHIFT]),
        ("translate_y", [[1, 0], [0, 1]], [SHIFT, 0]),
    ],
)
def test_geometry_is_one_bilinear_map_about_the_centre(each, image, name, matrix, shift):
    """As SciPy computes it, in both directions; beyond the edges the outermost pixels are repeated."""
    centre = (SIDE - 1) / 2
    for direction in (1, -1):
        forward = np.array(matrix) if direction == 1 else 2 * np.diag(np.diag(matrix)) - np.array(matrix)
        offset = centre + direction * np.array(shift) - forward @ [centre, centre]
        expected = [
            affine_transform(image[..., channel].astype(float), forward, offset, order=1, mode="nearest")
            for channel in range(3)
        ]
        assert np.abs(each[name, direction] - np.stack(expected, axis=-1)).max() < 0.05


def test_every_operation_is_drawn_equally_often(transform):
    """By the images that a magnitude of 0 leaves as they are: twelve operations of fourteen."""
    images = np.random.default_rng(0).integers(60, 200, (600, 20, 20, 1)).astype(np.float32) / 255
    same = np.isclose(transform(randaugment(magnitude=0.0), images), images, atol=1e-5).all(axis=(1, 2, 3))
    assert same.mean() == pytest.approx(12 / 14, abs=0.05)
    twice = np.isclose(transform(randaugment(2, 0.0), images), images, atol=1e-5).all(axis=(1, 2, 3))
    assert twice.mean() == pytest.approx((12 / 14) ** 2, abs=0.06)


def test_the_seed_decides_and_each_step_draws_anew(transform):
    images = np.random.default_rng(0).random((6, 16, 16, 1), dtype=np.float32)
    settings = {"num_ops": 3, "magnitude": 9.0, "min_scale": 0.4, "max_aspect": 1.3, "flip": 0.5}
    layer = randaugment(**settings)
    first = transform(layer, images)
    assert np.array_equal(transform(randaugment(**settings), images), first)
    assert not np.array_equal(transform(randaugment(**settings, seed=1), images), first)
    assert not np.array_equal(transform(layer, images), first)
    assert first.min() >= 0
    assert first.max() <= 1
    assert np.array_equal(np.asarray(layer(images, training=False)), images)
