"""Random resized crops against Pillow's, on either backend."""

import numpy as np
import pytest
from PIL import Image

from fashion.augment.random_crop import RandomCrop

pytestmark = pytest.mark.backend

HEIGHT, WIDTH = 20, 30


def random_crop(min_scale=1.0, max_aspect=1.0, flip=0.0, jitter=0.0, hue=0.0, seed=0) -> RandomCrop:
    return RandomCrop(min_scale, max_aspect, flip, jitter, jitter, jitter, hue, seed=seed)


def random_images(count: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, HEIGHT, WIDTH, channels), dtype=np.float32)


@pytest.fixture
def cropped(transform):
    """200 crops of one noisy image, and the box of each as left, right, top, bottom, in pixels.

    The first two channels are the columns and rows of the image itself; what they have become tells the box.
    """
    images = np.repeat(random_images(1), 200, axis=0)
    images[..., 0], images[..., 1] = np.arange(WIDTH), np.arange(HEIGHT)[:, np.newaxis]
    crops = transform(random_crop(min_scale=0.3, max_aspect=1.5, flip=0.5), images)
    x, y = crops[:, HEIGHT // 2, :, 0], crops[:, :, WIDTH // 2, 1]
    # From the middle, where no edge is repeated: the step from pixel to pixel, and by it the outer ends.
    x_step, y_step = x[:, 15] - x[:, 14], y[:, 10] - y[:, 9]
    x_middle, y_middle = (x[:, 14] + x[:, 15]) / 2 + 0.5, (y[:, 9] + y[:, 10]) / 2 + 0.5
    boxes = np.stack([x_middle - x_step * 15, x_middle + x_step * 15, y_middle - y_step * 10, y_middle + y_step * 10])
    return images[0], crops, boxes


def test_boxes_keep_inside_the_image_and_to_their_ranges(cropped):
    _, _, (left, right, top, bottom) = cropped
    assert min(left.min(), right.min(), top.min()) > -1e-3
    assert max(left.max(), right.max()) < WIDTH + 1e-3
    assert bottom.max() < HEIGHT + 1e-3
    wide, tall = np.abs(right - left) / WIDTH, (bottom - top) / HEIGHT
    area, aspect = wide * tall, wide / tall
    assert 0.3 - 1e-3 < area.min() < 0.35
    assert 0.9 < area.max() < 1 + 1e-3
    assert 1 / 1.51 < aspect.min() < 0.75
    assert 1.3 < aspect.max() < 1.51
    assert 70 < np.sum(right < left) < 130  # flipped


def test_a_crop_is_pillow_s_bilinear_resize_of_its_box(cropped):
    image, crops, boxes = cropped
    noise = Image.fromarray(image[..., 2])
    for crop, (left, right, top, bottom) in zip(crops[:20], boxes.T[:20], strict=True):
        box = np.clip((min(left, right), top, max(left, right), bottom), 0, (WIDTH, HEIGHT, WIDTH, HEIGHT))
        expected = np.asarray(noise.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=tuple(box)))
        assert np.allclose(crop[..., 2], expected if left < right else expected[:, ::-1], atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_drawn_and_nothing_in_training_mode_is_no_change(transform, channels):
    images = random_images(3, channels)
    assert np.allclose(transform(random_crop(), images), images, atol=1e-5)
    assert np.array_equal(np.asarray(random_crop(0.3, 1.5, 0.5, 0.4)(images, training=False)), images)


def test_the_seed_decides_and_each_step_draws_anew(transform):
    images = random_images(4)
    layer, again, other = (random_crop(0.3, 1.5, 0.5, 0.4, 0.1, seed=seed) for seed in (0, 0, 1))
    first = transform(layer, images)
    assert np.array_equal(transform(again, images), first)
    assert not np.array_equal(transform(other, images), first)
    assert not np.array_equal(transform(layer, images), first)
    assert first.min() >= 0
    assert first.max() <= 1


def test_jitter_of_one_channel_is_brightness_and_contrast(transform):
    """Every output is an affine map of the image, its slopes and the changes of its mean within their ranges."""
    images = np.repeat(0.4 + 0.2 * random_images(1, channels=1), 100, axis=0)
    changed = transform(random_crop(jitter=0.2, hue=0.5), images).reshape(100, -1)
    slopes, offsets = np.polyfit(images[0].ravel(), changed.T, 1)
    assert np.allclose(np.outer(slopes, images[0].ravel()) + offsets[:, np.newaxis], changed, atol=1e-4)
    assert 0.8**2 < slopes.min() < 0.75
    assert 1.3 < slopes.max() < 1.2**2
    brightness = changed.mean(axis=1) / images[0].mean()
    assert 0.8 < brightness.min() < 0.85
    assert 1.15 < brightness.max() < 1.2
