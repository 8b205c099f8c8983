"""``preprocessing: resize``: the same pixels for training and for serving."""

import io

import numpy as np
import pytest
from PIL import Image

from fashion.errors import InputError
from fashion.preprocessing.decode import load, open_checked
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.prepare import decode_side, prepare, read, read_bytes


def spec(height=40, width=40, channels=3, fit="stretch") -> InputSpec:
    return InputSpec(height=height, width=width, channels=channels, preprocessing="resize", fit=fit)


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A smooth image, as photos are, and different everywhere."""
    coarse = np.random.default_rng(0).integers(0, 256, (7, 9, len(mode)), np.uint8).squeeze()
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_image_of_the_right_size_keeps_its_pixels(mode):
    image = photo(40, 40, mode)
    prepared = read_bytes(encoded(image, "PNG"), spec(channels=len(mode)))
    assert np.array_equal(prepared.pixels.squeeze(), np.asarray(image))
    assert prepared.steps == ()
    assert prepared.pixels.flags.writeable


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_the_channels_of_the_model(mode, channels):
    grey = mode in ("1", "L", "LA", "I;16")
    image = photo(60, 50, "L" if grey else "RGB")
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB").resize((40, 40), Image.Resampling.BOX))
    image = Image.fromarray(np.asarray(image).astype(np.uint16) << 8) if mode == "I;16" else image.convert(mode)
    found = read_bytes(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), spec(channels=channels)).pixels
    assert found.shape == (40, 40, channels)
    assert found.dtype == np.uint8
    assert np.abs(found - expected.reshape(found.shape).astype(int)).mean() < (60 if mode in ("1", "P") else 5)


def test_fits():
    image = Image.new("RGB", (90, 30), "blue")
    image.paste("red", (30, 0, 60, 30))
    blue, red, black = [0, 0, 255], [255, 0, 0], [0, 0, 0]
    stretched, cropped, padded = (prepare(image, spec(fit=fit)).pixels for fit in ("stretch", "crop", "pad"))
    assert stretched[20, [2, 20, 37]].tolist() == [blue, red, blue]
    assert cropped[20, [2, 20, 37]].tolist() == [red, red, red]
    assert padded[[2, 20, 37], 20].tolist() == [black, red, black]
    assert padded[20, [2, 37]].tolist() == [blue, blue]
    assert prepare(image, spec(height=30, width=90, fit="crop")).steps == ()


def test_shrinking_is_antialiased():
    stripes = np.zeros((400, 400), np.uint8)
    stripes[::2] = 255  # taking single pixels would make it black or white
    pixels = prepare(Image.fromarray(stripes), spec(channels=1)).pixels
    assert pixels.min() > 100
    assert pixels.max() < 156


def test_a_small_image_is_enlarged_smoothly():
    pixels = prepare(Image.fromarray(np.array([[0, 255]], np.uint8)), spec(channels=1)).pixels[20, :, 0]
    assert np.all(np.diff(pixels.astype(int)) >= 0)
    assert len(np.unique(pixels)) > 10


def test_a_large_jpeg_is_decoded_at_a_reduced_size_that_is_not_too_small():
    content = encoded(photo(900, 700), "JPEG", quality=95)
    assert decode_side(spec()) == 50
    prepared = read_bytes(content, spec())
    assert prepared.steps[0] == "decoded at 113 x 88 instead of 900 x 700"
    whole = prepare(load(open_checked(content), 10_000), spec()).pixels
    assert np.abs(prepared.pixels.astype(int) - whole).mean() < 3


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "x.jpg").write_text("text")
    with pytest.raises(InputError, match=r"x\.jpg: is not an image"):
        read(tmp_path / "x.jpg", spec())
    with pytest.raises(InputError, match=r"y\.jpg: there is no such file"):
        read(tmp_path / "y.jpg", spec())
