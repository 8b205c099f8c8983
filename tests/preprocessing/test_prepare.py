"""Every kind of image becomes the 28 x 28 pixels that the model was trained on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fashion.data.fashion_mnist import fashion_mnist
from fashion.errors import FashionError
from fashion.preprocessing.fashion_mnist import prepare
from fashion.preprocessing.fashion_mnist.spec import INPUT
from fashion.preprocessing.prepare import read


def product(size=(200, 300), background="white", colour="navy", box=(60, 50, 140, 250)) -> Image.Image:
    """A dark upright rectangle on a light background: a product photo at its plainest."""
    image = Image.new("RGB", size, background)
    image.paste(colour, box)
    return image


def test_a_28_by_28_grey_image_is_used_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    prepared = prepare(Image.fromarray(pixels))
    assert np.array_equal(prepared.pixels[..., 0], pixels)
    assert prepared.steps == ("used as is: 28 x 28 grey",)


def test_a_product_is_trimmed_fitted_centred_and_negated():
    prepared = prepare(product())
    assert prepared.steps[0] == "trimmed from 200 x 300 to 80 x 200"
    assert prepared.steps[-1] == "negated: its background is light"
    pixels = prepared.pixels[..., 0]
    assert pixels.shape == (28, 28)
    assert pixels.dtype == np.uint8
    rows, columns = np.nonzero(pixels > 128)
    assert (rows.min(), rows.max()) == (0, 27)  # the longest edge fills the frame
    assert abs((columns.min() + columns.max()) / 2 - 13.5) <= 0.5
    assert columns.max() - columns.min() + 1 == 11  # 80 / 200 * 28
    assert pixels[:, 0].max() == 0  # background


@pytest.mark.parametrize(("background", "step"), [(255, None), (240, "240"), (20, "20"), (0, None)])
def test_the_background_of_a_product_becomes_black(background, step):
    cloth = 90 if background > 127 else 200
    page = Image.new("RGB", (300, 400), (background,) * 3)
    page.paste((cloth,) * 3, (80, 60, 220, 340))
    prepared = prepare(page)
    assert prepared.pixels[..., 0].min() == 0
    assert (prepared.pixels[..., 0] == 0).mean() > 0.3
    expected = abs(cloth - background) * 255 / max(background, 255 - background)
    assert np.median(prepared.pixels[..., 0][prepared.pixels[..., 0] > 0]) == pytest.approx(expected, abs=2)
    reported = [each for each in prepared.steps if "set to black" in each]
    assert reported == ([f"background of {step} set to black"] if step else [])


@pytest.mark.parametrize(("background", "cloth"), [(225, 250), (40, 10)])
def test_an_object_that_a_black_background_would_swallow_is_segmented(background, cloth):
    page = Image.new("RGB", (300, 400), (background,) * 3)
    page.paste((cloth,) * 3, (80, 60, 220, 340))
    prepared = prepare(page)
    assert prepared.is_photo
    assert 0.3 < (prepared.pixels[..., 0] > 30).mean() < 0.7


@pytest.mark.parametrize("background", [120, 128])
def test_a_tiny_image_on_grey_keeps_its_contrast(background):
    page = Image.new("RGB", (12, 12), (background,) * 3)
    page.paste((background - 60,) * 3, (3, 3, 6, 9))
    page.paste((background + 60,) * 3, (6, 3, 9, 9))
    pixels = prepare(page).pixels[..., 0]
    assert pixels.max() - pixels.min() > 100
    assert not any("set to black" in step for step in prepare(page).steps)


def test_a_light_product_on_a_dark_background_is_not_negated():
    prepared = prepare(product(background="black", colour="white"))
    assert not any("negated" in step for step in prepared.steps)
    assert prepared.pixels[..., 0][14, 14] == 255
    assert prepared.pixels[..., 0][14, 0] == 0


SAME = prepare(product()).pixels[..., 0]


def transparent(image):
    mask = Image.fromarray((np.asarray(image.convert("L")) < 250).astype(np.uint8) * 255)
    image = image.convert("RGBA")
    image.putalpha(mask)
    return image


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("palette", lambda p: p.convert("P", palette=Image.Palette.ADAPTIVE)),
        ("cmyk", lambda p: p.convert("CMYK")),
        ("transparent", transparent),
        ("grey with alpha", lambda p: p.convert("LA")),
    ],
)
def test_any_mode_gives_the_same_pixels(name, convert):
    assert np.abs(prepare(convert(product())).pixels[..., 0].astype(int) - SAME).max() <= 8, name


def test_sixteen_bits_are_reduced_to_eight():
    grey = np.asarray(product().convert("L")).astype(np.uint16) << 8
    pixels = prepare(Image.fromarray(grey)).pixels[..., 0]
    assert np.abs(pixels.astype(int) - SAME).max() <= 8


def test_the_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated a quarter turn: shown upright, stored on its side
    product().rotate(90, expand=True).save(tmp_path / "p.png", exif=exif)
    assert np.abs(read(tmp_path / "p.png", INPUT).pixels[..., 0].astype(int) - SAME).max() <= 8


@pytest.mark.parametrize("ending", ["png", "jpeg", "webp"])
def test_the_usual_formats_are_read(tmp_path, ending):
    product().save(tmp_path / f"p.{ending}", quality=95)
    assert np.abs(read(tmp_path / f"p.{ending}", INPUT).pixels[..., 0].astype(int) - SAME).mean() < 12


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(b"just text")
    with pytest.raises(FashionError, match="is not an image") as raised:
        read(path, INPUT)
    assert str(raised.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FashionError, match="there is no such file"):
        read(tmp_path / "nothing.png", INPUT)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "L", "RGBA", "P", "1"]), st.integers(0, 9))
def test_any_image_gives_28_by_28_bytes(width, height, mode, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    prepared = prepare(Image.fromarray(noise).convert(mode))
    assert prepared.pixels.shape == (28, 28, 1)
    assert prepared.pixels.dtype == np.uint8
    assert prepared.steps


def test_one_colour_is_background_and_nothing_else():
    assert prepare(Image.new("RGB", (50, 80), "white")).pixels[..., 0].max() == 0


def test_a_test_image_enlarged_on_white_is_nearly_restored(fashion_mnist_root):
    image = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0).test.images[0, ..., 0]
    large = Image.fromarray(255 - image).resize((280, 280), Image.Resampling.LANCZOS).convert("RGB")
    page = Image.new("RGB", (400, 360), "white")
    page.paste(large, (60, 40))
    difference = np.abs(prepare(page).pixels[..., 0].astype(int) - image)
    assert np.median(difference) <= 10
