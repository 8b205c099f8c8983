"""What a photo's cut-out leaves of a product: laws of it, on either backend."""

import inspect

import numpy as np
import pytest
from keras import ops

from fashion.augment.photo import Photo, _extent, _kinds
from fashion.data.dataset import CLASSES, fashion_mnist

pytestmark = pytest.mark.backend

NOTHING = {name: 0.0 for name in inspect.signature(Photo).parameters if name != "seed"}


@pytest.fixture(scope="module")
def products(fashion_mnist_root):
    """100 images of each class, and their labels."""
    data = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    chosen = np.concatenate([np.flatnonzero(data.validation_labels == number)[:100] for number in range(10)])
    return data.validation_images[chosen], data.validation_labels[chosen]


def layer(seed: int = 0, **changes) -> Photo:
    return Photo(**{**NOTHING, **changes}, seed=seed)


def in_training(photo: Photo, pixels: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(photo(pixels[..., np.newaxis].astype(np.float32) / 255, training=True))[..., 0]


def test_nothing_happens_outside_training(products):
    images = products[0][:5, ..., np.newaxis].astype(np.float32) / 255
    assert np.array_equal(ops.convert_to_numpy(layer()(images, training=False)), images)


def test_products_without_reach_stay_as_they_are(products):
    pixels = products[0][:50]
    assert np.allclose(in_training(layer(product_share=1.0), pixels), pixels / 255, atol=1e-5)


def test_the_share_of_products_is_kept(products):
    pixels = np.repeat(products[0][:1], 400, axis=0)
    same = np.abs(in_training(layer(product_share=0.3), pixels) - pixels / 255).max(axis=(1, 2)) < 1e-5
    assert 0.2 < same.mean() < 0.4


def test_photographs_are_pictures_that_still_show_the_object(products):
    pixels = products[0]
    seen = layer(residue_probability=0.3, warp_pixels=0.8, zoom=0.2).photographed(pixels)
    assert seen.shape == pixels.shape
    assert 0 <= seen.min() <= seen.max() <= 1
    assert (seen.max(axis=(1, 2)) > 0.05).mean() > 0.99
    assert len({image.tobytes() for image in seen}) == len(seen)


def test_what_is_no_product_fills_the_frame(products):
    seen = layer(zoom=0.2, shift=0.1).photographed(products[0][:300])
    left, right, top, bottom = (ops.convert_to_numpy(each).ravel() for each in _extent(seen > 0.03))
    longest = np.maximum(right - left, bottom - top) + 1
    assert np.median(longest) >= 26


def test_without_residue_nothing_is_far_from_the_object(products):
    trousers = products[0][products[1] == CLASSES.index("Trouser")]
    corners = layer().photographed(trousers)[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners < 0.02).mean() > 0.95


def test_outlines_tell_shoes_and_tops(products):
    images, labels = products
    shoe, low, top = (
        ops.convert_to_numpy(each).ravel() for each in _kinds(images[..., np.newaxis].astype(np.float32) / 255)
    )
    of_class = {name: labels == number for number, name in enumerate(CLASSES)}
    for name in ("Sneaker", "Ankle boot", "Sandal"):
        assert shoe[of_class[name]].mean() > 0.75, name
    assert low[of_class["Sneaker"]].mean() > 0.75
    for name in ("T-shirt/top", "Pullover", "Coat", "Shirt"):
        assert shoe[of_class[name]].mean() < 0.05, name
        assert top[of_class[name]].mean() > 0.75, name
    assert top[of_class["Trouser"]].mean() < 0.2


def test_a_pair_is_its_own_mirror_image_and_sleeves_make_it_wide(products):
    images, labels = products
    sneakers, pullovers = (images[labels == CLASSES.index(name)][:60] for name in ("Sneaker", "Pullover"))
    pairs = layer(pair_probability=1.0).photographed(sneakers) > 0.1
    mirrored = (pairs == pairs[:, :, ::-1]).mean(axis=(1, 2))
    alone = layer().photographed(sneakers) > 0.1
    assert np.median(mirrored) > np.median((alone == alone[:, :, ::-1]).mean(axis=(1, 2))) + 0.1
    widths = [
        np.median((layer(splay_probability=share).photographed(pullovers) > 0.1).any(axis=1).sum(axis=1))
        for share in (0.0, 1.0)
    ]
    assert widths[1] > widths[0]


def test_the_seed_decides(products):
    pixels = products[0][:20]
    first, again, other = (layer(seed).photographed(pixels) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
