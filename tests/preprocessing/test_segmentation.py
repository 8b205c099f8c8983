"""Objects on rendered backgrounds, whose true masks are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fashion.data.fashion_mnist import fashion_mnist
from fashion.preprocessing.fashion_mnist import prepare, segmentation

SIDE = segmentation.WORKING_SIDE


@pytest.fixture(scope="module")
def garments(fashion_mnist_root) -> dict[str, np.ndarray]:
    """Outlines of an ankle boot, a pullover and trousers of the test set, ``(128, 128)`` bool, margins around them."""
    images = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0).test.images[:3, ..., 0]
    outlines = {}
    for name, image in zip(("boot", "pullover", "trousers"), images, strict=True):
        large = np.asarray(Image.fromarray(image).resize((90, 90), Image.Resampling.BICUBIC))
        outlines[name] = np.pad(large > 40, (SIDE - 90) // 2)
    return outlines


def planks(random) -> np.ndarray:
    """A wooden floor: planks of slightly different browns, with seams and grain."""
    boards = np.repeat(random.uniform(0.8, 1.2, 8), SIDE // 8)[:, np.newaxis]
    grain = 1 + 0.08 * np.repeat(random.normal(size=(SIDE, SIDE // 8)), 8, axis=1)
    seams = np.where(np.arange(SIDE) % (SIDE // 8) == 0, 0.6, 1.0)[:, np.newaxis]
    return np.array([150, 105, 65]) * (boards * grain * seams)[..., np.newaxis]


def tiles(random) -> np.ndarray:
    """Light tiles with dark joints, and light from one side."""
    joints = (np.arange(SIDE) % 50 < 3)[:, np.newaxis] | (np.arange(SIDE) % 50 < 3)
    light = np.linspace(0.75, 1.05, SIDE)
    return np.where(joints, 190, 215)[..., np.newaxis] * light[:, np.newaxis] + random.normal(0, 4, (SIDE, SIDE, 1))


def carpet(random) -> np.ndarray:
    """Red pile with a coarse grain."""
    grain = np.repeat(np.repeat(random.normal(0, 14, (SIDE // 2, SIDE // 2)), 2, axis=0), 2, axis=1)
    return np.array([150, 30, 40]) + grain[..., np.newaxis] + random.normal(0, 6, (SIDE, SIDE, 1))


def photographed(outline: np.ndarray, background, colour, seed: int = 0) -> np.ndarray:
    """A photo of cloth with folds in this outline, and a soft shadow beside it."""
    random = np.random.default_rng(seed)
    floor = background(random) * np.where(np.roll(outline, (3, 4), (0, 1)), 0.8, 1.0)[..., np.newaxis]
    folds = 1 + 0.1 * np.sin(np.add.outer(np.arange(SIDE) / 9, np.arange(SIDE) / 17))
    cloth = np.array(colour) * folds[..., np.newaxis] + random.normal(0, 4, (SIDE, SIDE, 3))
    return np.clip(np.where(outline[..., np.newaxis], cloth, floor), 0, 255).astype(np.uint8)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("name", ["boot", "pullover", "trousers"])
@pytest.mark.parametrize(
    ("background", "colour"), [(planks, (40, 50, 110)), (tiles, (120, 30, 60)), (carpet, (225, 225, 215))]
)
def test_a_garment_is_segmented_from_its_background(garments, name, background, colour):
    found = segmentation.find_object(photographed(garments[name], background, colour))
    assert overlap(found, garments[name]) > 0.75


def test_the_28_pixels_are_those_of_the_garment_negated_and_centred(garments):
    image = Image.fromarray(photographed(garments["pullover"], planks, (40, 50, 110)))
    prepared = prepare(image)
    assert prepared.is_photo
    assert prepared.steps[0].startswith("segmented from the photo: ")
    assert overlap(prepared.mask, garments["pullover"]) > 0.85
    pixels = prepared.pixels[..., 0]
    assert (pixels[0] > 0).any() or (pixels[:, 0] > 0).any()  # as large as possible
    assert pixels[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 60  # the corners are background
    assert pixels[12:16, 12:16].min() > 150  # dark cloth is bright


def test_dark_cloth_is_brighter_than_light_cloth(garments):
    dark, light = (
        prepare(Image.fromarray(photographed(garments["pullover"], carpet, colour))).pixels[..., 0][10:18, 10:18].mean()
        for colour in ((20, 25, 30), (235, 235, 230))
    )
    assert dark > light


def test_gaps_between_trouser_legs_stay_and_specks_are_removed():
    mask = np.zeros((60, 60), bool)
    mask[10:50, 20:40] = True
    mask[25:50, 28:32] = False  # between the legs, open below
    mask[15:17, 25:27] = False  # a button
    mask[5, 5] = mask[55, 50:52] = True  # specks
    cleaned = segmentation.clean_mask(mask)
    assert cleaned[15:17, 25:27].all()
    assert not cleaned[30:50, 29:31].any()
    assert not cleaned[5, 5]
    assert not cleaned[55].any()


def test_the_same_photo_gives_the_same_pixels_every_time(garments):
    image = Image.fromarray(photographed(garments["boot"], carpet, (90, 90, 160)))
    first, again = (prepare(image.copy()).pixels[..., 0] for _ in range(2))
    assert np.array_equal(first, again)


@settings(deadline=None, max_examples=25)
@given(st.integers(16, 200), st.integers(16, 200), st.integers(0, 9), st.sampled_from(["noise", "half", "stripes"]))
def test_any_photo_gives_28_by_28_bytes_and_a_mask_of_its_shape(width, height, seed, kind):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (height, width, 3), np.uint8)
    if kind == "half":
        pixels[: height // 2] = 7
    elif kind == "stripes":
        pixels[:] = np.where(np.arange(width) % 8 < 4, 30, 220)[:, np.newaxis]
    prepared = segmentation.prepare_photo(Image.fromarray(pixels))
    assert prepared.pixels.shape == (28, 28, 1)
    assert prepared.pixels.dtype == np.uint8
    assert prepared.mask.any()
    assert prepared.mask.shape[0] / prepared.mask.shape[1] == pytest.approx(height / width, rel=0.15)


def test_without_an_object_the_whole_photo_is_used():
    flat = Image.new("RGB", (80, 60), (120, 110, 100))
    prepared = segmentation.prepare_photo(flat)
    assert prepared.steps[0] == "no object found: the whole photo is used"
    assert prepared.mask.all()
