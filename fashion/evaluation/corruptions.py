"""Fifteen corruptions of the test images, each at five severities.

In the spirit of MNIST-C (Mu & Gilmer, 2019, arXiv 1906.02337) and Fashion-MNIST-C (Weiss & Tonella, 2022, ISSTA), with
parameters of our own: ``CORRUPTIONS`` is the whole definition. Severity 5 is meant to leave most garments recognisable
to a person.

An image's corruption depends only on the seed, the corruption and the image's position in the data set: subsets and
batches of any size give the same bytes. All severities share their random numbers, so that they differ in strength
alone.
"""

import functools
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from scipy.stats import poisson

from fashion.arrays import GrayImages, Positions
from fashion.errors import InputError
from fashion.preprocessing.fashion_mnist.spec import INPUT_SIDE

SEVERITIES = 5

# Random numbers are drawn for this many neighbouring positions at once, whether or not all of them are needed: one
# generator for each image would take longer than the corruption.
BLOCK = 100

# Steps of the inverse distribution function of shot noise, which needs one random number for a pixel of any grey.
POISSON_STEPS = 1024

JPEG_BLOCK = 8


Corrupted = Shaped[np.ndarray, "n h w"]


class BlockRandom:
    """Random numbers for images of one block; an image's do not depend on which others are asked for.

    Args:
        entropy: Seed, corruption and block, on which the numbers depend.
        rows: The images' positions within their block.
    """

    def __init__(self, entropy: list[int], rows: Positions) -> None:
        # By name, because a later numpy may change its default generator.
        self._random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        self._rows = rows

    def uniform(self, *shape: int) -> Float[np.ndarray, "n ..."]:
        """Return ``(n, *shape)`` float32 in [0, 1)."""
        return self._random.random((BLOCK, *shape), np.float32)[self._rows]

    def normal(self, *shape: int) -> Float[np.ndarray, "n ..."]:
        """Return ``(n, *shape)`` float32, standard normal."""
        return self._random.standard_normal((BLOCK, *shape), np.float32)[self._rows]

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

    apply: Callable[[GrayImages, Any, BlockRandom], Corrupted]
    parameter: str
    strengths: tuple[Any, Any, Any, Any, Any]


def corrupt(
    images: GrayImages, name: str, severity: int, *, seed: int, positions: Positions | None = None
) -> GrayImages:
    """Corrupt images.

    Args:
        images: Light garments on black.
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
    blocks = positions // BLOCK
    for block in np.unique(blocks):
        here = np.flatnonzero(blocks == block)
        random = BlockRandom([seed, int.from_bytes(name.encode()), int(block)], positions[here] % BLOCK)
        corrupted[here] = np.rint(np.clip(corruption.apply(images[here], strength, random), 0, 255))
    return corrupted


# -- noise ------------------------------------------------------------------------------------------------------------


def _gaussian_noise(images: GrayImages, deviation: float, random: BlockRandom) -> Corrupted:
    return images + np.float32(255 * deviation) * random.normal(INPUT_SIDE, INPUT_SIDE)


def _shot_noise(images: GrayImages, photons: float, random: BlockRandom) -> Corrupted:
    steps = (random.uniform(INPUT_SIDE, INPUT_SIDE) * POISSON_STEPS).astype(np.int64)
    return _photon_counts(photons)[images, steps] * (255 / photons)


@functools.lru_cache(maxsize=SEVERITIES)
def _photon_counts(photons: float) -> Float[np.ndarray, "256 steps"]:
    """Return for each grey the quantiles of its number of photons."""
    expected = photons / 255 * np.arange(256)[:, np.newaxis]
    return poisson.ppf((np.arange(POISSON_STEPS) + 0.5) / POISSON_STEPS, expected)


def _impulse_noise(images: GrayImages, share: float, random: BlockRandom) -> Corrupted:
    hit = random.uniform(INPUT_SIDE, INPUT_SIDE) < share
    return np.where(hit, np.where(random.uniform(INPUT_SIDE, INPUT_SIDE) < 0.5, 0, 255), images)


# -- blur -------------------------------------------------------------------------------------------------------------


def _gaussian_blur(images: GrayImages, sigma: float, random: BlockRandom) -> Corrupted:
    rows_blurred = gaussian_filter1d(images.astype(np.float32), sigma, axis=1, mode="constant")
    return gaussian_filter1d(rows_blurred, sigma, axis=2, mode="constant")


def _motion_blur(images: GrayImages, length: int, random: BlockRandom) -> Corrupted:
    """Average along a line of ``length`` pixels: horizontal, vertical, or diagonal."""
    directions = np.array([(0, 1), (1, 0), (1, 1), (1, -1)])[(random.uniform() * 4).astype(int)]
    reach = length // 2
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)))
    pixels = np.arange(INPUT_SIDE) + reach
    image = np.arange(len(images))[:, np.newaxis, np.newaxis]
    total = np.zeros(images.shape, np.int64)
    for step in range(-reach, reach + 1):
        rows = pixels + step * directions[:, :1]
        columns = pixels + step * directions[:, 1:]
        total += padded[image, rows[:, :, np.newaxis], columns[:, np.newaxis, :]]
    return total / length


# -- geometry ---------------------------------------------------------------------------------------------------------


def _translate(images: GrayImages, pixels: float, random: BlockRandom) -> Corrupted:
    angle = 2 * np.pi * random.uniform().astype(np.float64)
    return _warp(images, _repeat(images, np.eye(2)), pixels * np.stack([np.sin(angle), np.cos(angle)], axis=1))


def _rotate(images: GrayImages, degrees: float, random: BlockRandom) -> Corrupted:
    angle = np.radians(degrees) * random.sign()
    cosine, sine = np.cos(angle), np.sin(angle)
    return _warp(images, np.stack([cosine, sine, -sine, cosine], axis=1).reshape(-1, 2, 2))


def _shear(images: GrayImages, slope: float, random: BlockRandom) -> Corrupted:
    matrices = _repeat(images, np.eye(2)).copy()
    matrices[:, 1, 0] = slope * random.sign()
    return _warp(images, matrices)


def _scale(images: GrayImages, factor: float, random: BlockRandom) -> Corrupted:
    return _warp(images, _repeat(images, np.eye(2) / factor))


def _repeat(images: GrayImages, matrix: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "n 2 2"]:
    return np.broadcast_to(matrix, (len(images), 2, 2))


def _warp(
    images: GrayImages, matrices: Float[np.ndarray, "n 2 2"], shifts: Float[np.ndarray, "n 2"] | None = None
) -> Float[np.ndarray, "n h w"]:
    """Sample every image at ``matrix @ (row, column) + shift`` from its centre, bilinearly; outside is black.

    Args:
        images: Any images.
        matrices: One for each.
        shifts: In pixels; None shifts nothing.
    """
    centre = (INPUT_SIDE - 1) / 2
    grid = np.stack(np.meshgrid(*2 * [np.arange(INPUT_SIDE) - centre], indexing="ij"))
    # Written out, because the rounding of a matrix product depends on the batch size.
    rows, columns = (
        matrices[:, axis, 0, None, None] * grid[0] + matrices[:, axis, 1, None, None] * grid[1] for axis in (0, 1)
    )
    if shifts is not None:
        rows, columns = rows + shifts[:, 0, None, None], columns + shifts[:, 1, None, None]
    # With a frame of two black pixels and coordinates clipped to it, all four neighbours exist and no mask is needed.
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    rows = np.clip(rows + centre, -1.5, INPUT_SIDE + 0.5) + 2
    columns = np.clip(columns + centre, -1.5, INPUT_SIDE + 0.5) + 2
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    down, right = rows - top, columns - left
    image = np.arange(len(images))[:, None, None]
    upper = padded[image, top, left] * (1 - right) + padded[image, top, left + 1] * right
    lower = padded[image, top + 1, left] * (1 - right) + padded[image, top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def _quarter_turn(images: GrayImages, orientation: tuple[int, bool], random: BlockRandom) -> Corrupted:
    quarters, mirrored = orientation
    return np.rot90(images[:, :, ::-1] if mirrored else images, quarters, axes=(1, 2))


# -- light ------------------------------------------------------------------------------------------------------------


def _brightness(images: GrayImages, added: float, random: BlockRandom) -> Corrupted:
    return images + 255 * added


def _contrast(images: GrayImages, kept: float, random: BlockRandom) -> Corrupted:
    means = images.sum(axis=(1, 2), dtype=np.int64, keepdims=True) / INPUT_SIDE**2
    return means + kept * (images - means)


def _inversion(images: GrayImages, blend: float, random: BlockRandom) -> Corrupted:
    return (1 - blend) * images + blend * (255.0 - images)


# -- compression and occlusion ----------------------------------------------------------------------------------------


def _jpeg(images: GrayImages, quality: int, random: BlockRandom) -> Corrupted:
    """Encode all images as one grey JPEG: its 8 x 8 blocks are independent, so each is encoded as if alone."""
    padded_side = -(-INPUT_SIDE // JPEG_BLOCK) * JPEG_BLOCK
    padding = padded_side - INPUT_SIDE
    # Encoders fill the last blocks of an image with its edge.
    sheet = np.pad(images, ((0, 0), (0, padding), (0, padding)), mode="edge").reshape(-1, padded_side)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(file, formats=["JPEG"])).reshape(-1, padded_side, padded_side)
    return decoded[:, :INPUT_SIDE, :INPUT_SIDE]


def _occlusion(images: GrayImages, side: int, random: BlockRandom) -> Corrupted:
    """Cover each image with a square of mid-grey, its centre in the inner half."""
    centres = (INPUT_SIDE / 4 + random.uniform(2) * INPUT_SIDE / 2)[:, :, None]
    covered = np.abs(np.arange(INPUT_SIDE) + 0.5 - centres) < side / 2
    return np.where(covered[:, 0, :, None] & covered[:, 1, None, :], 128, images)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(_gaussian_noise, "standard deviation, share of white", (0.04, 0.08, 0.14, 0.22, 0.32)),
    "shot_noise": Corruption(_shot_noise, "photons in a white pixel", (60, 25, 12, 6, 3)),
    "impulse_noise": Corruption(_impulse_noise, "share of pixels made black or white", (0.02, 0.05, 0.1, 0.18, 0.28)),
    "gaussian_blur": Corruption(_gaussian_blur, "standard deviation, pixels", (0.5, 0.8, 1.2, 1.7, 2.3)),
    "motion_blur": Corruption(_motion_blur, "length, pixels; in one of 4 directions", (3, 5, 7, 9, 13)),
    "translate": Corruption(_translate, "pixels, in any direction", (1.0, 2.0, 3.0, 5.0, 7.0)),
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
    "occlusion": Corruption(_occlusion, "side of a grey square, pixels", (5, 8, 11, 14, 17)),
}
