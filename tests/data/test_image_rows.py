"""Rows of a file of images behave like an array of them."""

import numpy as np
import pytest

from fashion.data.image_rows import ImageRows


@pytest.fixture
def both(tmp_path):
    """The same images as rows of a file and as an array."""
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 5, 3), np.uint8)
    images.tofile(tmp_path / "pixels")
    rows = np.array([8, 2, 2, 5, 0])
    return ImageRows(np.memmap(tmp_path / "pixels", np.uint8, "r", shape=images.shape), rows), images[rows]


@pytest.mark.parametrize(
    "index",
    [0, -1, np.int64(3), slice(None), slice(1, 3), slice(None, None, -2), [4, 0], np.array([1, 1]), np.arange(5) > 2,
     np.empty(0, np.int64)],
    ids=str,
)  # fmt: skip
def test_an_index_reads_what_it_reads_from_an_array(both, index):
    rows, array = both
    assert type(rows[index]) is np.ndarray
    assert np.array_equal(rows[index], array[index])


def test_shape_and_conversion(both):
    rows, array = both
    assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == (array.shape, array.dtype, array.ndim, len(array))
    assert np.array_equal(np.asarray(rows), array)
    assert np.asarray(rows, np.float32).dtype == np.float32
    assert [image.tolist() for image in rows] == array.tolist()


def test_what_would_need_all_images_is_refused(both):
    for index in ((..., 0), (slice(None), 0), ..., None):
        with pytest.raises(IndexError, match="expected one index, of the images"):
            both[0][index]
    with pytest.raises(IndexError):
        both[0][5]
    with pytest.raises(ValueError, match="an array of them is a copy"):
        np.array(both[0], copy=False)
