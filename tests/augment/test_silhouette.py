"""What silhouettes reveal of garments, on either backend."""

import numpy as np
import pytest
from keras import ops

from fashion.augment import silhouette
from fashion.data.fashion_mnist import CLASSES

pytestmark = pytest.mark.backend


def test_the_bounding_box_is_the_first_and_last_row_and_column(single_operations):
    visible = np.zeros((2, 28, 28), bool)
    visible[0, 5:21, 3:10] = True
    left, right, top, bottom = (
        ops.convert_to_numpy(each).ravel().tolist() for each in silhouette.bounding_box(visible)
    )
    # An empty image gets the box of the whole image.
    assert (left, right, top, bottom) == ([3, 0], [9, 27], [5, 0], [20, 27])


def test_a_mask_has_no_small_holes(single_operations):
    image = np.zeros((1, 28, 28, 1), np.float32)
    image[0, 5:21, 3:20] = 0.5
    image[0, 10, 10] = 0
    mask = ops.convert_to_numpy(silhouette.foreground_mask(image))[0, ..., 0]
    assert mask[10, 10] == 1
    assert mask.sum() == 16 * 17


def test_silhouettes_tell_shoes_and_tops_apart(products):
    images, labels = products
    shoe, low, top = (
        ops.convert_to_numpy(each).ravel()
        for each in silhouette.garment_types(images[..., np.newaxis].astype(np.float32) / 255)
    )
    of_class = {name: labels == number for number, name in enumerate(CLASSES)}
    for name in ("Sneaker", "Ankle boot", "Sandal"):
        assert shoe[of_class[name]].mean() > 0.6, name
    assert low[of_class["Sneaker"]].mean() > 0.75
    for name in ("T-shirt/top", "Pullover", "Coat", "Shirt"):
        assert shoe[of_class[name]].mean() < 0.05, name
        assert top[of_class[name]].mean() > 0.75, name
    assert top[of_class["Trouser"]].mean() < 0.2


def test_the_torso_is_measured_without_sleeves(single_operations):
    shirts = np.zeros((2, 28, 28, 1), np.float32)
    shirts[:, 2:26, 8:20] = 1  # a body 12 pixels wide
    shirts[0, 2:24, 4:24] = 1  # sleeves to the hem, 4 pixels each
    shirts[1, 2:10, 2:26] = 1  # short sleeves
    long, short = ops.convert_to_numpy(silhouette.torso_half_width(shirts)).ravel()
    assert long == pytest.approx(6, abs=0.6)
    assert short == pytest.approx(6, abs=0.6)


def test_the_upper_contour_is_where_each_column_begins(single_operations):
    image = np.zeros((1, 28, 28, 1), np.float32)
    image[0, 10:, :14] = 1
    image[0, 20:, 14:21] = 1
    edge = silhouette.upper_contour(image)
    found = ops.convert_to_numpy(edge)[0]
    assert found[3] == pytest.approx(10 - 13.5)
    assert found[17] == pytest.approx(20 - 13.5)
    assert found[25] == 0
    places = np.array([[[-10.0, 3.4, 40.0]]], np.float32)
    assert ops.convert_to_numpy(silhouette.sample_columns(edge, places)).ravel() == pytest.approx(
        [10 - 13.5, 20 - 13.5, 0]
    )
