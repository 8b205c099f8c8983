"""Synthetic out-of-distribution images made from the ten classes: what a model for photos learns to abstain on.

Trousers with the legs cut off make shorts, the lower half of a dress a skirt, a dome of fabric a hat; shuffled and
overlaid images show nothing in particular.
"""

import cv2
import numpy as np
from jaxtyping import Float, Float32, Real, UInt8
from PIL import Image

from fashion.arrays import GrayImage, GrayImages, Labels
from fashion.preprocessing.fashion_mnist.spec import INPUT_SIDE

TROUSER, DRESS = 1, 3  # labels
VISIBLE = 5  # 0-255
KEPT_ROWS = (9, 16)  # of 28, when a garment is cut
SHARES = (0.4, 0.25)  # of cut garments, and of domes


def synthetic_ood(
    images: GrayImages, labels: Labels, count: int, random: np.random.Generator
) -> UInt8[np.ndarray, "count h w"]:
    """Return images, light on black, of none of the classes.

    Args:
        images: Images of the ten classes; trousers and dresses among them.
        labels: Their classes.
        count: The number of images to make.
        random: Source of all choices.
    """
    cut, domes = (round(share * count) for share in SHARES)
    trousers = images[labels == TROUSER]
    dresses = images[labels == DRESS]
    made = [
        _fitted(_cut(source[random.integers(len(source))], random, lower=lower))
        for source, lower in ((trousers, False), (dresses, True))
        for _ in range(cut // 2)
    ]
    made += [_dome(images[random.integers(len(images))], random) for _ in range(domes)]
    rest = count - len(made)
    broken = development_sets(images[random.integers(len(images), size=-(-rest // 2))], random)
    halves = np.concatenate([broken["shuffled tiles"], broken["two overlaid"]])
    return np.concatenate([np.stack(made), halves[:rest]]).astype(np.uint8)


def development_sets(images: GrayImages, random: np.random.Generator) -> dict[str, GrayImages]:
    """Return out-of-distribution images of kinds that are not reported: patterns, and corrupted training images.

    Args:
        images: Training images.
        random: Source of all choices.
    """
    count, side = len(images), INPUT_SIDE
    y, x = np.mgrid[:side, :side]
    angle, wave, phase = (random.uniform(low, high, (count, 1, 1)) for low, high in ((0, 3.15), (2, 14), (0, 6.3)))
    stripes = 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wave + phase)
    coarse = random.random((count, 7, 7))
    tiles = images.reshape(count, 4, 7, 4, 7).transpose(0, 1, 3, 2, 4).reshape(count, 16, 7, 7)
    shuffled = np.stack([tile[random.permutation(16)] for tile in tiles])
    shuffled = shuffled.reshape(count, 4, 4, 7, 7).transpose(0, 1, 3, 2, 4).reshape(count, side, side)
    centre, radius = random.uniform(8, 20, (2, count, 1, 1)), random.uniform(3, 12, (count, 1, 1))
    discs = np.hypot(x - centre[0], y - centre[1]) < radius
    return {
        "stripes": _to_uint8(stripes),
        "clouds": np.stack([_resized(Image.fromarray(_to_uint8(field))) for field in coarse]),
        "shuffled tiles": shuffled,
        "discs": _to_uint8(discs * random.uniform(0.3, 1, (count, 1, 1))),
        "inverted": 255 - images,
        "two overlaid": np.maximum(images, images[random.permutation(count), ::-1]),
    }


def _resized(image: Image.Image) -> GrayImage:
    return np.asarray(image.resize((INPUT_SIDE, INPUT_SIDE), Image.Resampling.BILINEAR))


def _to_uint8(values: Float[np.ndarray, " *shape"]) -> UInt8[np.ndarray, " *shape"]:
    """Return values as uint8, clipped to [0, 1] and scaled."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _cut(image: GrayImage, random: np.random.Generator, *, lower: bool) -> UInt8[np.ndarray, "rows w"]:
    rows = random.integers(*KEPT_ROWS)
    return image[-rows:] if lower else image[:rows]


def _fitted(part: Real[np.ndarray, "rows columns"]) -> Float32[np.ndarray, "h w"]:
    """Return 28 x 28 pixels with the visible pixels of a part centred and as large as possible."""
    square = np.zeros((INPUT_SIDE, INPUT_SIDE), np.float32)
    rows, columns = np.flatnonzero((part > VISIBLE).any(axis=1)), np.flatnonzero((part > VISIBLE).any(axis=0))
    if not len(rows):
        return square
    part = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    scale = INPUT_SIDE / max(part.shape)
    height, width = (max(1, round(side * scale)) for side in part.shape)
    top, left = (INPUT_SIDE - height) // 2, (INPUT_SIDE - width) // 2
    square[top : top + height, left : left + width] = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    return square


def _dome(image: GrayImage, random: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Return a round shape with the texture of an image's fabric, often with a straight lower edge."""
    y, x = np.mgrid[:INPUT_SIDE, :INPUT_SIDE] - (INPUT_SIDE - 1) / 2
    whole = (INPUT_SIDE, INPUT_SIDE)
    bumps = cv2.resize(random.normal(size=(5, 5)).astype(np.float32), whole, interpolation=cv2.INTER_CUBIC)
    across, down = random.uniform(8, 13.5, 2)
    inside = np.hypot(x / across, y / down) + random.uniform(0, 0.25) * bumps < 1
    cloth = cv2.resize(image[8:20, 8:20].astype(np.float32), whole, interpolation=cv2.INTER_LINEAR)
    return _fitted(np.where(inside & (y < random.uniform(0, 16)), np.maximum(cloth, 2 * VISIBLE), 0))
