"""Known answers of the augmentations, on either backend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from fashion.augment.affine import Affine
from fashion.augment.crop_flip import CropFlip
from fashion.augment.none import none
from fashion.augment.resample import resample

pytestmark = pytest.mark.backend


def random_images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((count, 28, 28, 1), dtype=np.float32)


def affine(rotation_degrees=0.0, width_shift=0.0, height_shift=0.0, zoom=0.0, seed=0) -> Affine:
    return Affine(rotation_degrees, width_shift, height_shift, zoom, seed=seed)


def fixed(layer: Affine, fractions: list[float]) -> Affine:
    """Make a layer draw these fractions of its reaches, in the order angle, zoom, horizontal and vertical shift."""
    draws = iter(fractions)
    layer._draw = lambda images, reach: np.full((len(images), 1, 1), next(draws) * reach, np.float32)
    return layer


def transformed(layer, images: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(layer(images, training=True))


@pytest.mark.parametrize("layer", [affine(10, 0.1, 0.1, 0.1), CropFlip(2, 0.5, 1.0, seed=0), none(seed=0)])
def test_nothing_happens_outside_training(layer):
    images = random_images()
    assert np.array_equal(ops.convert_to_numpy(layer(images, training=False)), images)


@pytest.mark.parametrize("layer", [affine(), CropFlip(0, 0.0, 0.0, seed=0), none(seed=0)])
def test_no_reach_is_no_change(layer):
    images = random_images()
    assert np.allclose(transformed(layer, images), images, atol=1e-6)


def test_a_quarter_turn_is_numpys():
    images = random_images()
    turned = transformed(fixed(affine(rotation_degrees=90), [1, 0, 0, 0]), images)
    assert np.allclose(turned, np.rot90(images, 1, axes=(1, 2)), atol=1e-4)


def test_a_shift_moves_whole_pixels_and_brings_in_background():
    images = random_images()
    shifted = transformed(fixed(affine(width_shift=0.5, height_shift=0.5), [0, 0, 4 / 14, -2 / 14]), images)
    expected = np.zeros_like(images)
    expected[:, 2:, :-4] = images[:, :-2, 4:]
    assert np.allclose(shifted, expected, atol=1e-4)


def test_zooming_in_twice_shows_the_middle_at_double_size():
    flat = np.zeros((1, 28, 28, 1), np.float32)
    flat[:, 7:21, 7:21] = 1  # the middle quarter
    zoomed = transformed(fixed(affine(zoom=0.5), [1, 1, 0, 0]), flat)  # 1 + 0.5: magnified by 1.5
    assert zoomed.sum() == pytest.approx(flat.sum() * 1.5**2, rel=0.02)
    assert zoomed[0, 13, 13, 0] == 1


def test_every_image_is_transformed_differently_and_every_step_anew():
    images = np.repeat(random_images(1), 8, axis=0)
    layer = affine(10, 0.1, 0.1, 0.1)
    first, second = transformed(layer, images), transformed(layer, images)
    assert len({image.tobytes() for image in first}) == 8
    assert not np.array_equal(first, second)


def test_the_seed_decides():
    images = random_images()
    first, again, other = (transformed(affine(10, 0.1, 0.1, 0.1, seed=seed), images) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_draws_fill_their_range():
    layer = affine()
    draws = ops.convert_to_numpy(layer._draw(np.zeros((4000, 28, 28, 1), np.float32), 2.0)).ravel()
    assert -2 <= draws.min() < -1.9
    assert 1.9 < draws.max() < 2
    assert abs(draws.mean()) < 0.1


def test_crop_flip_only_mirrors_and_shifts_whole_pixels():
    image = random_images(1)
    results = transformed(CropFlip(2, 0.5, 0.0, seed=0), np.repeat(image, 64, axis=0))
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)))
    possible = {}
    for mirrored in (False, True):
        source = padded[:, :, ::-1] if mirrored else padded
        for down in range(5):
            for right in range(5):
                possible[source[0, down : down + 28, right : right + 28, 0].tobytes()] = mirrored
    found = [possible[np.ascontiguousarray(result[..., 0]).tobytes()] for result in results]
    assert 16 < sum(found) < 48
    assert len({result.tobytes() for result in results}) > 20


def test_probabilities_zero_and_one_mirror_none_and_all():
    images = random_images()
    assert np.array_equal(transformed(CropFlip(0, 1.0, 0.0, seed=0), images), images[:, :, ::-1])


def test_erasing_puts_noise_into_one_rectangle_of_the_paper_s_sizes():
    images = np.zeros((400, 28, 28, 1), np.float32)
    changed = transformed(CropFlip(0, 0.0, 0.5, seed=0), images)[..., 0] != 0
    erased = changed.any(axis=(1, 2))
    assert 160 < erased.sum() < 240
    shares = []
    for where in changed[erased]:
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        assert where[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert where.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        shares.append(where.mean())
    assert min(shares) < 0.05
    assert 0.35 < max(shares) < 0.45
    assert changed.any(axis=0).all()  # it reaches every pixel


def bilinear(image: np.ndarray, row: float, column: float) -> float:
    """The textbook's formula, one pixel at a time, with zeros around the image."""
    top, left = int(np.floor(row)), int(np.floor(column))
    total = 0.0
    for y in (top, top + 1):
        for x in (left, left + 1):
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                total += float(image[y, x]) * (1 - abs(row - y)) * (1 - abs(column - x))
    return total


@settings(deadline=None, max_examples=50)
@given(st.floats(-40, 60, width=32), st.floats(-40, 60, width=32))
def test_resampling_is_bilinear_everywhere_even_far_outside(row, column):
    images = random_images(1)
    rows, columns = (np.full((1, 28, 28), value, np.float32) for value in (row, column))
    resampled = ops.convert_to_numpy(resample(images, rows, columns))
    assert np.allclose(resampled, bilinear(images[0, ..., 0], row, column), atol=1e-4)
