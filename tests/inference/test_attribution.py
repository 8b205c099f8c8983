import numpy as np
import pytest

from fashion.inference.attribution import MAX_BATCH, occlusion_sensitivity

MEAN = (0.286,)


def bright_corner(images: np.ndarray) -> np.ndarray:
    """The probability of class 1 grows with the brightness of the square from (4, 20) to (8, 24)."""
    assert len(images) <= MAX_BATCH
    share = 0.1 + 0.8 * images[:, 4:8, 20:24].mean(axis=(1, 2, 3))
    return np.stack([1 - share, share], axis=1)


@pytest.mark.parametrize("image", [np.full((28, 28, 1), 255, np.uint8), np.ones((28, 28, 1), np.float32)])
def test_it_finds_the_pixels_that_the_prediction_depends_on(image):
    strength = occlusion_sensitivity(bright_corner, image, 1, MEAN)
    assert (strength.shape, strength.dtype) == ((28, 28), np.float32)
    assert (strength.min(), strength.max()) == (0, 1)
    row, column = np.unravel_index(strength.argmax(), strength.shape)
    assert 4 <= row < 8
    assert 20 <= column < 24
    assert strength[14:].max() == 0
    assert strength[:, :14].max() == 0


def test_evidence_against_a_class_does_not_support_it():
    assert not occlusion_sensitivity(bright_corner, np.full((28, 28, 1), 255, np.uint8), 0, MEAN).any()


def test_a_constant_prediction_has_no_strong_pixel():
    constant = np.array([[0.0, 1.0]])
    assert not occlusion_sensitivity(
        lambda images: constant.repeat(len(images), axis=0), np.zeros((28, 28, 1), np.uint8), 1, MEAN
    ).any()
