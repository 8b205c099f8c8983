"""What is transparent shows a background that contrasts with the garment, in every mode that has transparency."""

import io
import struct
import zlib

import numpy as np
import pytest
from image_files import chunk, with_chunks
from PIL import Image
from serving import png

from fashion.preprocessing.decode import decode
from fashion.preprocessing.fashion_mnist import prepare
from fashion.server.service import uploads

SHAPE = np.zeros((300, 200), bool)
SHAPE[50:250, 60:140] = True


def opened(content: bytes) -> Image.Image:
    return decode(io.BytesIO(content))


def garment(brightness: int, hidden: int) -> bytes:
    """A garment of one brightness, and another behind what is transparent."""
    grey = np.where(SHAPE, brightness, hidden).astype(np.uint8)
    return png(np.stack([grey, grey, grey, SHAPE * np.uint8(255)], axis=-1))


@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize(("brightness", "background"), [(0, 255), (90, 255), (170, 0), (255, 0)])
def test_the_background_contrasts_with_the_garment(brightness, background, hidden):
    image = opened(garment(brightness, hidden))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image)[..., 1], np.where(SHAPE, brightness, background))


@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("brightness", [0, 255])
def test_a_garment_never_vanishes(brightness, hidden):
    assert (prepare(opened(garment(brightness, hidden))).pixels > 200).mean() > 0.3


def test_half_of_the_colour_shows_through_half_of_the_opacity():
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[10:30, 10:30] = (200, 200, 200, 128)
    pixels = np.asarray(opened(png(rgba)))
    assert pixels[20, 20, 0] == pytest.approx(200 * 128 / 255, abs=1)
    assert pixels[0, 0, 0] == 0


def test_an_invisible_image_is_white():
    assert np.asarray(opened(png(np.zeros((40, 40, 4), np.uint8)))).min() == 255


GREY = np.where(SHAPE, np.linspace(160, 250, 200), 0).astype(np.uint8)
EIGHT_BIT = np.asarray(opened(png(Image.fromarray(GREY), transparency=0)))


def sixteen_bit_rgb() -> bytes:
    """Made by hand, as Pillow writes 8 bits a channel."""

    pixels = np.repeat((GREY.astype(np.uint16)[..., np.newaxis] << 8).astype(">u2"), 3, axis=2)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 200, 300, 16, 2, 0, 0, 0))
    chunks = [header, chunk(b"tRNS", bytes(6)), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


TWINS = {
    "grey, 16 bits": png(Image.fromarray(GREY.astype(np.uint16) << 8), transparency=0),
    "colour": png(Image.fromarray(GREY).convert("RGB"), transparency=(0, 0, 0)),
    "colour, 16 bits": sixteen_bit_rgb(),
    "grey with alpha": png(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(SHAPE * np.uint8(255))])),
    "palette": png(Image.fromarray(GREY, "L").convert("P"), transparency=0),
    "palette with alpha": png(Image.fromarray(GREY, "L").convert("P"), transparency=b"\0" + b"\xff" * 255),
}


@pytest.mark.parametrize("content", TWINS.values(), ids=TWINS)
def test_every_mode_gives_the_pixels_of_its_8_bit_twin(content):
    assert np.abs(np.asarray(opened(content)).astype(int) - EIGHT_BIT).max() <= 1
    assert not any("negated" in step for step in prepare(opened(content)).steps)  # it is light on black already


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_transparent_colour_counts_in_the_bits_of_the_file(bits):
    """The lightest of two, four or sixteen greys is transparent; the garment is black."""
    palette = Image.fromarray(np.where(SHAPE, 0, 2**bits - 1).astype(np.uint8), "P")
    palette.putpalette([value for value in range(256) for _ in range(3)])
    content = bytearray(png(palette, bits=bits))
    content[25] = 0  # grey instead of a palette, with the same pixels
    start, end = content.index(b"IHDR"), content.index(b"PLTE") - 4
    header = chunk(b"IHDR", bytes(content[start + 4 : end - 4]))
    pixels = content[content.index(b"IDAT") - 4 :]
    plain = bytes(content[: start - 4]) + header + bytes(pixels)
    image = opened(with_chunks(plain, chunk(b"tRNS", (2**bits - 1).to_bytes(2))))
    assert np.array_equal(np.asarray(image)[..., 0], np.where(SHAPE, 0, 255))
    transparent_garment = opened(with_chunks(plain, chunk(b"tRNS", bytes(2))))
    assert np.array_equal(np.asarray(transparent_garment)[..., 0], np.where(SHAPE, 0, 255))


def test_a_page_shows_what_the_model_saw(client):
    """The thumbnail of a white garment is not white on white."""

    services = client.application.services
    with client.application.test_request_context():
        client.application.preprocess_request()
        with services.admission.decode_slot():
            thumbnail = uploads.read(
                garment(255, 255), services.model.input, services.admission, services.monitor, 64
            ).thumbnail
    assert np.ptp(np.asarray(thumbnail)) == 255
