"""Laws of simulated photos, on either backend."""

import inspect

import numpy as np
import pytest
from keras import ops

from fashion.augment import silhouette
from fashion.augment.photo import Photo
from fashion.data.fashion_mnist import CLASSES

pytestmark = pytest.mark.backend

NOTHING = {name: 0.0 for name in inspect.signature(Photo).parameters if name != "seed"}


def layer(seed: int = 0, **changes) -> Photo:
    return Photo(**{**NOTHING, **changes}, seed=seed)


@pytest.fixture(scope="module")
def plain() -> Photo:
    """Light, fabric and camera alone; shared, because each layer is compiled once."""
    return layer()


@pytest.fixture(scope="module")
def varied() -> Photo:
    """Everything at once."""
    return layer(
        rotation_degrees=10, shift=0.1, zoom=0.2, aspect_jitter=0.5, warp_pixels=0.8, mirror_probability=0.5,
        splay_probability=1.0, pair_probability=1.0, surface_probability=0.7, defect_probability=0.2,
    )  # fmt: skip


def test_nothing_happens_outside_training(products):
    images = products[0][:5, ..., np.newaxis].astype(np.float32) / 255
    assert np.array_equal(ops.convert_to_numpy(layer()(images, training=False)), images)


def test_the_share_of_products_is_unchanged(products, single_operations):
    images = products[0][:300, ..., np.newaxis].astype(np.float32) / 255
    photos = ops.convert_to_numpy(layer(product_share=0.3)(images, training=True))
    same = np.abs(photos - images).max(axis=(1, 2, 3)) < 1e-5
    assert 0.2 < same.mean() < 0.4


def test_simulated_photos_still_show_the_object(products, varied):
    pixels = products[0]
    photos = varied.simulate_photos(pixels)
    assert photos.shape == pixels.shape
    assert 0 <= photos.min() <= photos.max() <= 1
    assert (photos.max(axis=(1, 2)) > 0.05).mean() > 0.99
    assert len({image.tobytes() for image in photos}) == len(photos)


def test_photos_fill_the_frame(products, varied):
    photos = varied.simulate_photos(products[0][:300])
    left, right, top, bottom = (ops.convert_to_numpy(each).ravel() for each in silhouette.bounding_box(photos > 0.03))
    longest = np.maximum(right - left, bottom - top) + 1
    assert np.median(longest) >= 26


def test_without_defects_nothing_is_far_from_the_object(products, plain):
    trousers = products[0][products[1] == CLASSES.index("Trouser")]
    corners = plain.simulate_photos(trousers)[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners < 0.02).mean() > 0.95


def test_a_pair_is_its_own_mirror_image_and_sleeves_make_it_wide(products, plain):
    images, labels = products
    sneakers, pullovers = (images[labels == CLASSES.index(name)][:60] for name in ("Sneaker", "Pullover"))
    moved = layer(pair_probability=1.0, splay_probability=1.0)
    pairs, alone = (each.simulate_photos(sneakers) > 0.1 for each in (moved, plain))
    mirrored, one = ((photos == photos[:, :, ::-1]).mean(axis=(1, 2)) for photos in (pairs, alone))
    assert np.median(mirrored) > np.median(one) + 0.05
    wide, hanging = ((each.simulate_photos(pullovers) > 0.1).any(axis=1).sum(axis=1) for each in (moved, plain))
    assert np.median(wide) > np.median(hanging)


def test_the_seed_decides_and_every_call_draws_anew(products):
    pixels = products[0][:20]
    one = layer(seed=3)
    first, later = one.simulate_photos(pixels), one.simulate_photos(pixels)
    one.random.state.assign(layer(seed=3).random.state)
    again = one.simulate_photos(pixels)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, later)
