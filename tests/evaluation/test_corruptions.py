"""Laws of the corruptions, and known answers of those that have one."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from fashion.errors import FashionError
from fashion.evaluation.corruptions import CORRUPTIONS, block_size, corrupt

BLOCK = block_size((28, 28, 1))
IMAGES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(28), st.just(28), st.just(1)))
NAMES = st.sampled_from(sorted(CORRUPTIONS))
SEVERITY = st.integers(1, 5)


def blobs(count: int) -> np.ndarray:
    """Different smooth light shapes on black, as garments are."""
    random = np.random.default_rng(7)
    rows, columns = np.mgrid[:28, :28]
    centres, widths = random.uniform(9, 18, (count, 2, 1, 1)), random.uniform(2, 6, (count, 2, 1, 1))
    distance = ((rows - centres[:, 0]) / widths[:, 0]) ** 2 + ((columns - centres[:, 1]) / widths[:, 1]) ** 2
    return (255 * np.exp(-distance / 2)).astype(np.uint8)[..., np.newaxis]


def test_there_are_fifteen_corruptions_of_five_severities():
    assert len(CORRUPTIONS) == 15
    assert {len(corruption.strengths) for corruption in CORRUPTIONS.values()} == {5}


@settings(deadline=None, max_examples=60)
@given(IMAGES, NAMES, SEVERITY, st.integers(0, 2**32))
def test_images_stay_images_and_the_given_ones_untouched(images, name, severity, seed):
    before = images.copy()
    corrupted = corrupt(images, name, severity, seed=seed)
    assert corrupted.shape == images.shape
    assert corrupted.dtype == np.uint8
    assert np.array_equal(images, before)
    assert not np.shares_memory(corrupted, images)
    assert np.array_equal(corrupted, corrupt(images, name, severity, seed=seed))


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_subsets_and_batches_give_the_same_bytes(name, severity):
    images = blobs(2 * BLOCK + 30)
    whole = corrupt(images, name, severity, seed=3)
    some = np.array([2 * BLOCK + 7, 0, BLOCK, 5, BLOCK - 1])
    assert np.array_equal(corrupt(images[some], name, severity, seed=3, positions=some), whole[some])
    parts = [np.arange(0, 37), np.arange(37, 38), np.arange(38, len(images))]
    split = [corrupt(images[part], name, severity, seed=3, positions=part) for part in parts]
    assert np.array_equal(np.concatenate(split), whole)


# The same random numbers at all severities: what varies is the strength alone.
@settings(deadline=None, max_examples=40)
@given(
    IMAGES,
    st.sampled_from(["gaussian_noise", "impulse_noise", "brightness", "contrast", "inversion", "occlusion"]),
    st.integers(1, 4),
)
def test_a_higher_severity_is_never_nearer_to_the_image(images, name, severity):
    lower, higher = (
        np.abs(corrupt(images, name, level, seed=0).astype(int) - images).sum() for level in (severity, severity + 1)
    )
    assert lower <= higher + images.size  # rounding to whole greys


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"turn"}))
def test_severity_5_is_farther_from_garment_like_images_than_severity_1(name):
    images = blobs(200)
    low, high = (np.abs(corrupt(images, name, level, seed=0).astype(int) - images).mean() for level in (1, 5))
    assert low < high


RANDOM = {
    "gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "translate", "rotate", "shear", "occlusion",
}  # fmt: skip


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_seed_matters_to_what_is_random_alone(name):
    images = blobs(20)
    same = np.array_equal(corrupt(images, name, 3, seed=0), corrupt(images, name, 3, seed=1))
    assert same == (name not in RANDOM)


def test_gaussian_noise_has_the_deviation_of_the_table():
    grey = np.full((500, 28, 28, 1), 128, np.uint8)
    noise = corrupt(grey, "gaussian_noise", 2, seed=0) / 255 - 128 / 255
    assert noise.std() == pytest.approx(CORRUPTIONS["gaussian_noise"].strengths[1], rel=0.01)
    assert abs(noise.mean()) < 1e-3


def test_shot_noise_is_poisson():
    grey = np.full((500, 28, 28, 1), 85, np.uint8)  # a third of white, so that twelve photons become four
    counts = corrupt(grey, "shot_noise", 3, seed=0) / 255 * 12
    assert counts.mean() == pytest.approx(4, rel=0.01)
    assert counts.var() == pytest.approx(4, rel=0.03)


def test_impulse_noise_strikes_the_share_of_the_table():
    grey = np.full((500, 28, 28, 1), 128, np.uint8)
    struck = corrupt(grey, "impulse_noise", 3, seed=0)
    assert np.mean(struck == 0) == pytest.approx(0.05, rel=0.05)
    assert np.mean(struck == 255) == pytest.approx(0.05, rel=0.05)
    assert set(np.unique(struck)) == {0, 128, 255}


def test_inversion_and_turns_are_exact():
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 1), np.uint8)
    turned = {level: corrupt(image, "turn", level, seed=0)[0] for level in range(1, 6)}
    assert np.array_equal(corrupt(image, "inversion", 5, seed=0), 255 - image)
    assert np.array_equal(turned[1], np.fliplr(image[0]))
    assert np.array_equal(turned[2], np.flipud(image[0]))
    assert np.array_equal(turned[3], np.rot90(image[0], 2))
    assert np.array_equal(turned[4], np.rot90(image[0]))
    assert np.array_equal(turned[5], np.rot90(image[0], -1))


def test_brightness_and_contrast_of_a_known_image():
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[:, :14] = 200
    brighter, flatter = corrupt(image, "brightness", 2, seed=0), corrupt(image, "contrast", 2, seed=0)
    assert {int(value) for value in np.unique(brighter)} == {51, 251}
    assert {int(value) for value in np.unique(flatter)} == {50, 150}


def test_geometry_moves_a_point_to_where_it_belongs():
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[0, 12:16, 20:24] = 255  # 8 pixels to the right of the centre
    rows, columns = np.mgrid[:28, :28] - 13.5

    def centre(corrupted: np.ndarray) -> tuple[float, float]:
        weights = corrupted[0, ..., 0] / corrupted.sum()
        return float((rows * weights).sum()), float((columns * weights).sum())

    assert centre(corrupt(image, "scale", 5, seed=0)) == pytest.approx((0, 4), abs=0.1)
    row, column = centre(corrupt(image, "rotate", 3, seed=0))
    angle = np.radians(25)
    assert (abs(row), column) == pytest.approx((8 * np.sin(angle), 8 * np.cos(angle)), abs=0.1)
    row, column = centre(corrupt(image, "translate", 3, seed=0))
    assert np.hypot(row, column - 8) == pytest.approx(3, abs=0.1)


def test_blurs_keep_the_light_of_a_spot():
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[0, 14, 14] = 255
    assert corrupt(image, "motion_blur", 2, seed=0)[0].max() == 51
    assert np.count_nonzero(corrupt(image, "motion_blur", 2, seed=0)) == 5
    assert corrupt(image, "gaussian_blur", 3, seed=0).sum() == pytest.approx(255, abs=12)


def test_a_jpeg_of_all_images_is_that_of_each():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    images[1] = blobs(1)[0]
    together = corrupt(images, "jpeg", 4, seed=0)
    for image, corrupted in zip(images, together, strict=True):
        file = io.BytesIO()
        Image.fromarray(image[..., 0]).save(file, "JPEG", quality=CORRUPTIONS["jpeg"].strengths[3])
        assert np.array_equal(np.asarray(Image.open(file)), corrupted[..., 0])


@pytest.mark.parametrize(("name", "severity"), [("rain", 1), ("jpeg", 0), ("jpeg", 6)])
def test_what_does_not_exist_is_refused(name, severity):
    with pytest.raises(FashionError, match="expected"):
        corrupt(blobs(1), name, severity, seed=0)


COLOUR = np.random.default_rng(1).integers(0, 256, (5, 30, 44, 3), np.uint8)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_colour_images_of_any_size_depend_on_their_position_alone(name, severity):
    whole = corrupt(COLOUR, name, severity, seed=3)
    assert whole.shape == COLOUR.shape
    assert not np.array_equal(whole, COLOUR)
    some = np.array([4, 1])
    assert np.array_equal(corrupt(COLOUR[some], name, severity, seed=3, positions=some), whole[some])


@pytest.mark.parametrize(
    "name", ["translate", "rotate", "shear", "scale", "turn", "brightness", "contrast", "inversion"]
)
def test_each_channel_is_corrupted_as_a_grey_image_is(name):
    images = COLOUR[:2]  # of one block, whatever the number of channels
    together = corrupt(images, name, 3, seed=0)
    for channel in range(3):
        one = slice(channel, channel + 1)
        assert np.array_equal(corrupt(images[..., one], name, 3, seed=0), together[..., one])


def test_lengths_grow_with_the_image():
    image = np.zeros((1, 84, 84, 1), np.uint8)
    image[0, 42, 42] = 255
    assert np.count_nonzero(corrupt(image, "motion_blur", 2, seed=0)) == 2 * 6 + 1
    moved = corrupt(blobs(1).repeat(3, axis=1).repeat(3, axis=2), "translate", 3, seed=0)[0, ..., 0].astype(float)
    still = blobs(1)[0, ..., 0].repeat(3, axis=0).repeat(3, axis=1)
    offsets = [(np.mgrid[:84, :84] * each / each.sum()).sum(axis=(1, 2)) for each in (moved, still.astype(float))]
    assert np.hypot(*(offsets[0] - offsets[1])) == pytest.approx(9, abs=0.3)


def test_blurs_do_not_frame_a_photo():
    photo = np.full((1, 32, 32, 3), 200, np.uint8)
    assert (corrupt(photo, "gaussian_blur", 5, seed=0) == 200).all()
    assert (corrupt(photo, "motion_blur", 5, seed=0) == 200).all()
    assert corrupt(photo[..., :1], "gaussian_blur", 5, seed=0)[0, 0, 0, 0] < 120
