"""What drives a prediction is drawn where it is in the photo, whatever the photo's aspect ratio and the model's fit."""

import numpy as np
import pytest
from PIL import Image

from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.prepare import prepare
from fashion.preprocessing.resize import on_photo
from fashion.server.pages.overlay import photo_sensitivity, spotlight, strongest_place

TOP, LEFT, SIDE = 30, 50, 12


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(160, 80), (80, 160)])
def test_a_map_of_the_input_is_laid_over_what_the_input_was_made_from(fit, size):
    spec = InputSpec(height=64, width=96, channels=1, preprocessing="resize", fit=fit)
    photo = np.zeros(size[::-1], np.uint8)
    photo[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = 255
    heat = prepare(Image.fromarray(photo), spec).pixels[..., 0].astype(np.float32) / 255
    laid = on_photo(heat, size, spec)
    assert (laid.shape, laid.dtype) == (photo.shape, np.float32)
    if fit == "crop" and size == (80, 160):  # nothing of the square is left in the input: its rows are 53 to 106
        assert not laid.any()
        return
    rows, columns = np.nonzero(laid > 0.5)
    assert np.allclose((rows.min(), rows.max()), (TOP, TOP + SIDE - 1), atol=1.5)
    assert np.allclose((columns.min(), columns.max()), (LEFT, LEFT + SIDE - 1), atol=1.5)


def test_what_a_crop_left_out_is_not_marked():
    spec = InputSpec(height=64, width=64, channels=3, preprocessing="resize", fit="crop")
    strength = photo_sensitivity(np.ones((64, 64), np.float32), (120, 60), spec)
    assert np.array_equal(strength[:, 32:88], np.ones((60, 56), np.float32))
    assert not strength[:, :29].any()
    assert not strength[:, 91:].any()


def test_the_parts_that_support_the_prediction_keep_their_colours_and_are_outlined():
    photo = np.full((100, 150, 3), (200, 60, 30), np.uint8)
    rows, columns = np.mgrid[:100, :150]
    strength = np.exp(-((rows - 20) ** 2 + (columns - 120) ** 2) / 800).astype(np.float32)
    drawn = spotlight(photo, strength)
    assert drawn[20, 120].tolist() == [200, 60, 30]
    far = drawn[90, 10].astype(int)
    assert far.max() < 80
    assert np.ptp(far) < 40  # less saturated
    assert far[0] > far[2]  # but of the same hue
    outlined = np.abs(drawn.astype(int) - (255, 122, 56)).max(axis=2) < 8
    assert 0.4 < strength[outlined].min() < strength[outlined].max() < 0.6
    assert outlined.sum() > 60
    assert strongest_place(strength) == "at the top right"


def test_without_a_supporting_part_nothing_is_outlined():
    photo = np.full((40, 30, 3), 200, np.uint8)
    spec = InputSpec(height=64, width=64, channels=3, preprocessing="resize")
    strength = photo_sensitivity(np.zeros((64, 64), np.float32), (30, 40), spec)
    assert not strength.any()
    assert np.unique(spotlight(photo, strength)).tolist() == [80]
    assert strongest_place(strength) is None


@pytest.mark.parametrize("shape", [(1, 50), (50, 1)])
def test_a_photo_of_one_row_or_column_is_drawn(shape):
    assert spotlight(np.full((*shape, 3), 200, np.uint8), np.ones(shape, np.float32)).max() == 200
