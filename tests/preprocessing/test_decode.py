import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fashion.data.fashion_mnist import fashion_mnist
from fashion.errors import FashionError
from fashion.preprocessing import decode


def product(size=(200, 300), ground="white", colour="navy", box=(60, 50, 140, 250)) -> Image.Image:
    """A dark upright rectangle on light ground: a product photo at its plainest."""
    picture = Image.new("RGB", size, ground)
    picture.paste(colour, box)
    return picture


def test_a_small_grey_picture_is_taken_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    prepared = decode.prepare(Image.fromarray(pixels))
    assert np.array_equal(prepared.pixels, pixels)
    assert prepared.steps == ("taken as it is: 28 x 28 grey",)


def test_a_product_photo_is_trimmed_fitted_centred_and_negated():
    prepared = decode.prepare(product())
    assert prepared.steps[0] == "trimmed from 200 x 300 to 80 x 200"
    assert prepared.steps[-1] == "negated: its background is light"
    pixels = prepared.pixels
    assert pixels.shape == (28, 28)
    assert pixels.dtype == np.uint8
    rows, columns = np.nonzero(pixels > 128)
    assert (rows.min(), rows.max()) == (0, 27)  # the longest edge fills the frame
    assert abs((columns.min() + columns.max()) / 2 - 13.5) <= 0.5
    assert columns.max() - columns.min() + 1 == 11  # 80 / 200 * 28
    assert pixels[:, 0].max() == 0  # ground


@pytest.mark.parametrize(("ground", "step"), [(255, None), (240, "240"), (20, "20"), (0, None)])
def test_the_ground_of_a_product_becomes_black(ground, step):
    cloth = 90 if ground > 127 else 200
    page = Image.new("RGB", (300, 400), (ground,) * 3)
    page.paste((cloth,) * 3, (80, 60, 220, 340))
    prepared = decode.prepare(page)
    assert prepared.pixels.min() == 0
    assert (prepared.pixels == 0).mean() > 0.3
    expected = abs(cloth - ground) * 255 / max(ground, 255 - ground)
    assert np.median(prepared.pixels[prepared.pixels > 0]) == pytest.approx(expected, abs=2)
    told = [each for each in prepared.steps if "made black" in each]
    assert told == ([f"its ground of {step} made black"] if step else [])


@pytest.mark.parametrize(("ground", "cloth"), [(225, 250), (40, 10)])
def test_what_a_black_ground_would_swallow_is_cut_out(ground, cloth):
    page = Image.new("RGB", (300, 400), (ground,) * 3)
    page.paste((cloth,) * 3, (80, 60, 220, 340))
    prepared = decode.prepare(page)
    assert prepared.is_photo
    assert 0.3 < (prepared.pixels > 30).mean() < 0.7


@pytest.mark.parametrize("ground", [120, 128])
def test_a_tiny_picture_on_grey_keeps_its_contrast(ground):
    page = Image.new("RGB", (12, 12), (ground,) * 3)
    page.paste((ground - 60,) * 3, (3, 3, 6, 9))
    page.paste((ground + 60,) * 3, (6, 3, 9, 9))
    seen = decode.prepare(page).pixels
    assert seen.max() - seen.min() > 100
    assert not any("made black" in step for step in decode.prepare(page).steps)


def test_light_things_on_dark_ground_are_not_negated():
    prepared = decode.prepare(product(ground="black", colour="white"))
    assert not any("negated" in step for step in prepared.steps)
    assert prepared.pixels[14, 14] == 255
    assert prepared.pixels[14, 0] == 0


SAME = decode.prepare(product()).pixels


def transparent(picture):
    mask = Image.fromarray((np.asarray(picture.convert("L")) < 250).astype(np.uint8) * 255)
    picture = picture.convert("RGBA")
    picture.putalpha(mask)
    return picture


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
    assert np.abs(decode.prepare(convert(product())).pixels.astype(int) - SAME).max() <= 8, name


def test_sixteen_bits_are_brought_to_eight():
    grey = np.asarray(product().convert("L")).astype(np.uint16) << 8
    pixels = decode.prepare(Image.fromarray(grey)).pixels
    assert np.abs(pixels.astype(int) - SAME).max() <= 8


def test_the_cameras_note_turns_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter: shown upright, the file lies on its side
    product().rotate(90, expand=True).save(tmp_path / "p.png", exif=exif)
    assert np.abs(decode.read(tmp_path / "p.png").pixels.astype(int) - SAME).max() <= 8


@pytest.mark.parametrize("ending", ["png", "jpeg", "webp"])
def test_the_usual_formats_are_read(tmp_path, ending):
    product().save(tmp_path / f"p.{ending}", quality=95)
    assert np.abs(decode.read(tmp_path / f"p.{ending}").pixels.astype(int) - SAME).mean() < 12


def encoded(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a picture, expected PNG, JPEG or WebP"),
        (b"just text", "is not a picture"),
        (encoded(product(), "GIF"), "is not a picture"),
        (encoded(product(), "TIFF"), "is not a picture"),
        (encoded(product(), "PNG")[:300], "is damaged: "),
        (encoded(Image.new("L", (9000, 10)), "PNG"), "is 9000 x 10 pixels, expected at most 8,192 a side"),
        (encoded(Image.new("1", (6000, 6000)), "PNG"), "is 6000 x 6000 pixels, expected at most"),
    ],
    ids=["empty", "text", "gif", "tiff", "truncated", "long side", "many pixels"],
)
def test_what_cannot_be_read_is_told_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "p.png"
    path.write_bytes(content)
    with pytest.raises(FashionError, match=message) as raised:
        decode.read(path)
    assert str(raised.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FashionError, match="there is no such file"):
        decode.read(tmp_path / "nothing.png")


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "L", "RGBA", "P", "1"]), st.integers(0, 9))
def test_any_picture_at_all_gives_28_by_28_bytes(width, height, mode, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    prepared = decode.prepare(Image.fromarray(noise).convert(mode))
    assert prepared.pixels.shape == (28, 28)
    assert prepared.pixels.dtype == np.uint8
    assert prepared.steps


def test_one_colour_is_background_and_nothing_else():
    assert decode.prepare(Image.new("RGB", (50, 80), "white")).pixels.max() == 0


def test_a_test_image_enlarged_on_white_comes_back_nearly_as_it_was(fashion_mnist_root):
    image = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0).test_images[0]
    large = Image.fromarray(255 - image).resize((280, 280), Image.Resampling.LANCZOS).convert("RGB")
    page = Image.new("RGB", (400, 360), "white")
    page.paste(large, (60, 40))
    difference = np.abs(decode.prepare(page).pixels.astype(int) - image)
    assert np.median(difference) <= 10
