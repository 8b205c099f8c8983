"""Fifteen corruptions of the test images, each at five severities.

In the spirit of MNIST-C (Mu & Gilmer, 2019, arXiv 1906.02337) and Fashion-MNIST-C (Weiss & Tonella, 2022, ISSTA), with
parameters of our own: ``CORRUPTIONS`` is the whole definition. Severity 5 is meant to leave most images recognisable to
a person. Lengths grow with the side of the images; noise is drawn for each channel.

An image's corruption depends only on the seed, the corruption and the image's position in the data set: subsets and
batches of any size give the same bytes. All severities share their random numbers, so that they differ in strength
alone.
"""

import functools
import io
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from scipy.stats import poisson

from fashion.arrays import Images, Positions
from fashion.errors import InputError

SEVERITIES = 5

# Lengths in the table are pixels of images of this side, that of MNIST-C.
TABLE_SIDE = 28

# Random numbers are drawn at once for as many neighbouring positions as have this many values, whether or not all of
# them are needed: one generator for each small image would take longer than the corruption. 100 images of 28 x 28.
BLOCK_VALUES = 78_400

# Steps of the inverse distribution function of shot noise, which needs one random number for a pixel of any grey.
POISSON_STEPS = 1024

JPEG_BLOCK = 8

OUTSIDE_IN_SCIPY: dict[str, Literal["constant", "nearest"]] = {"constant": "constant", "edge": "nearest"}


Corrupted = Shaped[np.ndarray, "n h w c"]


class BlockRandom:
    """Random numbers for images of one block; an image's do not depend on which others are asked for.

    Args:
        entropy: Seed, corruption and block, on which the numbers depend.
        block: How many images a block has.
        rows: The images' positions within their block.
    """

    def __init__(self, entropy: list[int], block: int, rows: Positions) -> None:
        # By name, because a later numpy may change its default generator.
        self._random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        self._block, self._rows = block, rows

    def uniform(self, *shape: int) -> Float[np.ndarray, "n ..."]:
        """Return ``(n, *shape)`` float32 in [0, 1)."""
        return self._random.random((self._block, *shape), np.float32)[self._rows]

    def normal(self, *shape: int) -> Float[np.ndarray, "n ..."]:
        """Return ``(n, *shape)`` float32, standard normal."""
        return self._random.standard_normal((self._block, *shape), np.float32)[self._rows]

    def sign(self) -> Float[np.ndarray, " n"]:
        """Return -1 or 1 for each image."""
        return np.where(self.uniform() < 0.5, -1.0, 1.0)


class Corruption(NamedTuple):
    """One row of the table.

    Attributes:
        apply: From images, a strength and random numbers to images of any real type, which are then rounded and
            clipped to 0-255.
        parameter: What the strength measures, with its unit.
        strengths: The strength at severity 1 to 5.
    """

    apply: Callable[[Images, Any, BlockRandom], Corrupted]
    parameter: str
    strengths: tuple[Any, Any, Any, Any, Any]


def corrupt(images: Images, name: str, severity: int, *, seed: int, positions: Positions | None = None) -> Images:
    """Corrupt images.

    Args:
        images: Grey or in colour, of any size.
        name: A key of ``CORRUPTIONS``.
        severity: 1 to 5.
        seed: Seed of the random numbers, not negative.
        positions: The images' positions in the data set; None if they are all of it, in order.

    Returns:
        A new array.

    Raises:
        InputError: When there is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise InputError(f"corruption: got {name!r}, expected one of {', '.join(CORRUPTIONS)}")
    if severity not in range(1, SEVERITIES + 1):
        raise InputError(f"severity: got {severity!r}, expected 1 to {SEVERITIES}")
    corruption = CORRUPTIONS[name]
    strength = corruption.strengths[severity - 1]
    positions = np.arange(len(images)) if positions is None else np.asarray(positions)
    corrupted = np.empty_like(images)
    size = block_size(images.shape[1:])
    blocks = positions // size
    for block in np.unique(blocks):
        here = np.flatnonzero(blocks == block)
        random = BlockRandom([seed, int.from_bytes(name.encode()), int(block)], size, positions[here] % size)
        corrupted[here] = np.rint(np.clip(corruption.apply(images[here], strength, random), 0, 255))
    return corrupted


def block_size(shape: tuple[int, ...]) -> int:
    """Return how many neighbouring images of a shape share a random generator."""
    return max(1, BLOCK_VALUES // math.prod(shape))


def _pixels(images: Images, length: float) -> float:
    """Return a length of the table in pixels of these images."""
    return length * min(images.shape[1:3]) / TABLE_SIDE


# -- noise ------------------------------------------------------------------------------------------------------------


def _gaussian_noise(images: Images, deviation: float, random: BlockRandom) -> Corrupted:
    return images + np.float32(255 * deviation) * random.normal(*images.shape[1:])


def _shot_noise(images: Images, photons: float, random: BlockRandom) -> Corrupted:
    steps = (random.uniform(*images.shape[1:]) * POISSON_STEPS).astype(np.int64)
    return _photon_counts(photons)[images, steps] * (255 / photons)


@functools.lru_cache(maxsize=SEVERITIES)
def _photon_counts(photons: float) -> Float[np.ndarray, "256 steps"]:
    """Return for each grey the quantiles of its number of photons."""
    expected = photons / 255 * np.arange(256)[:, np.newaxis]
    return poisson.ppf((np.arange(POISSON_STEPS) + 0.5) / POISSON_STEPS, expected)


def _impulse_noise(images: Images, share: float, random: BlockRandom) -> Corrupted:
    hit = random.uniform(*images.shape[1:]) < share
    return np.where(hit, np.where(random.uniform(*images.shape[1:]) < 0.5, 0, 255), images)


# -- blur -------------------------------------------------------------------------------------------------------------


def _gaussian_blur(images: Images, sigma: float, random: BlockRandom) -> Corrupted:
    sigma, mode = _pixels(images, sigma), _outside(images)
    rows_blurred = gaussian_filter1d(images.astype(np.float32), sigma, axis=1, mode=OUTSIDE_IN_SCIPY[mode])
    return gaussian_filter1d(rows_blurred, sigma, axis=2, mode=OUTSIDE_IN_SCIPY[mode])


def _motion_blur(images: Images, length: int, random: BlockRandom) -> Corrupted:
    """Average along a line: horizontal, vertical, or diagonal."""
    directions = np.array([(0, 1), (1, 0), (1, 1), (1, -1)])[(random.uniform() * 4).astype(int)]
    reach = round(_pixels(images, length // 2))
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), _outside(images))
    height, width = images.shape[1:3]
    image = np.arange(len(images))[:, np.newaxis, np.newaxis]
    total = np.zeros(images.shape, np.int64)
    for step in range(-reach, reach + 1):
        rows = np.arange(height) + reach + step * directions[:, :1]
        columns = np.arange(width) + reach + step * directions[:, 1:]
        total += padded[image, rows[:, :, np.newaxis], columns[:, np.newaxis, :]]
    return total / (2 * reach + 1)


def _outside(images: Images) -> Literal["constant", "edge"]:
    """Return how blurs continue an image: black, as drawings are; or by its edge, since black would frame a photo."""
    return "constant" if images.shape[3] == 1 else "edge"


# -- geometry ---------------------------------------------------------------------------------------------------------


def _translate(images: Images, pixels: float, random: BlockRandom) -> Corrupted:
    angle = 2 * np.pi * random.uniform().astype(np.float64)
    pixels = _pixels(images, pixels)
    return _warp(images, _repeat(images, np.eye(2)), pixels * np.stack([np.sin(angle), np.cos(angle)], axis=1))


def _rotate(images: Images, degrees: float, random: BlockRandom) -> Corrupted:
    angle = np.radians(degrees) * random.sign()
    cosine, sine = np.cos(angle), np.sin(angle)
    return _warp(images, np.stack([cosine, sine, -sine, cosine], axis=1).reshape(-1, 2, 2))


def _shear(images: Images, slope: float, random: BlockRandom) -> Corrupted:
    matrices = _repeat(images, np.eye(2)).copy()
    matrices[:, 1, 0] = slope * random.sign()
    return _warp(images, matrices)


def _scale(images: Images, factor: float, random: BlockRandom) -> Corrupted:
    return _warp(images, _repeat(images, np.eye(2) / factor))


def _repeat(images: Images, matrix: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "n 2 2"]:
    return np.broadcast_to(matrix, (len(images), 2, 2))


def _warp(
    images: Images, matrices: Float[np.ndarray, "n 2 2"], shifts: Float[np.ndarray, "n 2"] | None = None
) -> Float[np.ndarray, "n h w c"]:
    """Sample every image at ``matrix @ (row, column) + shift`` from its centre, bilinearly; outside is black.

    Args:
        images: Any images.
        matrices: One for each.
        shifts: In pixels; None shifts nothing.
    """
    sides = images.shape[1:3]
    centres = [(side - 1) / 2 for side in sides]
    axes = [np.arange(side) - centre for side, centre in zip(sides, centres, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    # Written out, because the rounding of a matrix product depends on the batch size.
    rows, columns = (
        matrices[:, axis, 0, None, None] * grid[0] + matrices[:, axis, 1, None, None] * grid[1] for axis in (0, 1)
    )
    if shifts is not None:
        rows, columns = rows + shifts[:, 0, None, None], columns + shifts[:, 1, None, None]
    # With a frame of two black pixels and coordinates clipped to it, all four neighbours exist and no mask is needed.
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    rows = np.clip(rows + centres[0], -1.5, sides[0] + 0.5) + 2
    columns = np.clip(columns + centres[1], -1.5, sides[1] + 0.5) + 2
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    down, right = ((each % 1)[..., np.newaxis] for each in (rows, columns))
    image = np.arange(len(images))[:, None, None]
    upper = padded[image, top, left] * (1 - right) + padded[image, top, left + 1] * right
    lower = padded[image, top + 1, left] * (1 - right) + padded[image, top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def _quarter_turn(images: Images, orientation: tuple[int, bool], random: BlockRandom) -> Corrupted:
    quarters, mirrored = orientation
    turned = np.rot90(images[:, :, ::-1] if mirrored else images, quarters, axes=(1, 2))
    if turned.shape == images.shape:
        return turned
    height, width = images.shape[1:3]  # of oblong images: back to their size
    stretched = [cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) for image in turned]
    return np.stack(stretched).reshape(images.shape)


# -- light ------------------------------------------------------------------------------------------------------------


def _brightness(images: Images, added: float, random: BlockRandom) -> Corrupted:
    return images + 255 * added


def _contrast(images: Images, kept: float, random: BlockRandom) -> Corrupted:
    means = images.sum(axis=(1, 2), dtype=np.int64, keepdims=True) / math.prod(images.shape[1:3])
    return means + kept * (images - means)


def _inversion(images: Images, blend: float, random: BlockRandom) -> Corrupted:
    return (1 - blend) * images + blend * (255.0 - images)


# -- compression and occlusion ----------------------------------------------------------------------------------------


def _jpeg(images: Images, quality: int, random: BlockRandom) -> Corrupted:
    """Encode and decode; all grey images as one: its 8 x 8 blocks are independent, so each is encoded as if alone."""
    if images.shape[3] > 1:  # a decoder smooths the colours across blocks
        return np.stack([_decoded_jpeg(image, quality) for image in images])
    height, width = images.shape[1:3]
    # Encoders fill the last blocks of an image with its edge.
    padding = ((0, -height % JPEG_BLOCK), (0, -width % JPEG_BLOCK))
    padded = np.pad(images[..., 0], ((0, 0), *padding), mode="edge")
    decoded = _decoded_jpeg(padded.reshape(-1, padded.shape[2]), quality).reshape(padded.shape)
    return decoded[:, :height, :width, np.newaxis]


def _decoded_jpeg(pixels: UInt8[np.ndarray, "h w *c"], quality: int) -> UInt8[np.ndarray, "h w *c"]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file, formats=["JPEG"]))


def _occlusion(images: Images, side: float, random: BlockRandom) -> Corrupted:
    """Cover each image with a square of mid-grey, its centre in the inner half."""
    side = _pixels(images, side)
    places = random.uniform(2)
    rows, columns = (
        np.abs(np.arange(length) + 0.5 - (length / 4 + places[:, axis, np.newaxis] * length / 2)) < side / 2
        for axis, length in enumerate(images.shape[1:3])
    )
    return np.where(rows[:, :, None, None] & columns[:, None, :, None], 128, images)


PIXELS = f"pixels for images of {TABLE_SIDE}"
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(_gaussian_noise, "standard deviation, share of white", (0.04, 0.08, 0.14, 0.22, 0.32)),
    "shot_noise": Corruption(_shot_noise, "photons in a white pixel", (60, 25, 12, 6, 3)),
    "impulse_noise": Corruption(_impulse_noise, "share of pixels made black or white", (0.02, 0.05, 0.1, 0.18, 0.28)),
    "gaussian_blur": Corruption(_gaussian_blur, f"standard deviation, {PIXELS}", (0.5, 0.8, 1.2, 1.7, 2.3)),
    "motion_blur": Corruption(_motion_blur, f"length, {PIXELS}; in one of 4 directions", (3, 5, 7, 9, 13)),
    "translate": Corruption(_translate, f"{PIXELS}, in any direction", (1.0, 2.0, 3.0, 5.0, 7.0)),
    "rotate": Corruption(_rotate, "degrees, to the left or right", (8, 16, 25, 35, 50)),
    "shear": Corruption(_shear, "columns for each row, to the left or right", (0.1, 0.2, 0.35, 0.5, 0.7)),
    "scale": Corruption(_scale, "factor", (0.9, 0.8, 0.7, 0.6, 0.5)),
    "turn": Corruption(
        _quarter_turn,
        "quarter turns to the left, after a left-right mirror or not",
        ((0, True), (2, True), (2, False), (1, False), (3, False)),
    ),
    "brightness": Corruption(_brightness, "added, share of white", (0.1, 0.2, 0.3, 0.45, 0.6)),
    "contrast": Corruption(_contrast, "share of the distance from the mean that is kept", (0.7, 0.5, 0.35, 0.2, 0.1)),
    "inversion": Corruption(_inversion, "share of the negative in the blend", (0.1, 0.2, 0.35, 0.75, 1.0)),
    "jpeg": Corruption(_jpeg, "quality", (60, 30, 15, 8, 4)),
    "occlusion": Corruption(_occlusion, f"side of a grey square, {PIXELS}", (5, 8, 11, 14, 17)),
}
