"""Metadata never decides whether an image is read: of all that it says, the orientation is used if it can be."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from image_files import (
    EXIF,
    ICC,
    IMAGE,
    JPEG,
    ORIENTATION,
    PNG,
    camera_exif,
    chunk,
    exif,
    images_with_damaged_metadata,
    raw_profile,
    with_chunks,
    with_segments,
    xmp,
)  # fmt: skip
from PIL import Image, ImageOps
from serving import png

from fashion.errors import InvalidImageError
from fashion.preprocessing import metadata
from fashion.preprocessing.decode import decode
from fashion.preprocessing.orientation import read_orientation

XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
TEXT = b"XML:com.adobe.xmp"


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(decode(io.BytesIO(content)))


def turned(content: bytes, orientation: int) -> np.ndarray:
    """What Pillow makes of an orientation."""
    image = Image.open(io.BytesIO(content))
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "order"), [(1, "<"), (3, "<"), (3, ">"), (4, ">")])
def test_every_orientation_is_applied_as_pillow_applies_it(orientation, kind, order):
    content = with_segments(JPEG, (0xE1, b"Exif\0\0" + exif(orientation, kind, order)))
    assert np.array_equal(pixels(content), turned(JPEG, orientation))


FILES = {
    "exif in png": with_chunks(PNG, chunk(b"eXIf", exif(6))),
    "exif behind a prefix": with_chunks(PNG, chunk(b"eXIf", b"Exif\0\0" + exif(6))),
    "raw profile": with_chunks(PNG, chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(exif(6)))),
    "packed profile": with_chunks(
        PNG, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(exif(6))))
    ),
    "xmp in png": with_chunks(PNG, chunk(b"iTXt", TEXT + b"\0\0\0\0\0" + xmp(6))),
    "packed xmp": with_chunks(PNG, chunk(b"iTXt", TEXT + b"\0\1\0\0\0" + zlib.compress(xmp(6)))),
    "behind the pixels": with_chunks(PNG, chunk(b"eXIf", exif(6)), before=b"IEND"),
    "xmp in jpeg": with_segments(JPEG, (0xE1, XMP_PREFIX + xmp(6))),
    "exif before xmp": with_segments(JPEG, (0xE1, XMP_PREFIX + xmp(3)), (0xE1, b"Exif\0\0" + exif(6))),
    "xmp beside odd exif": with_segments(JPEG, (0xE1, XMP_PREFIX + xmp(6)), (0xE1, b"Exif\0\0nonsense")),
    "beside much else": png(IMAGE, "JPEG", quality=95, exif=camera_exif(6)),
    "exif in webp": png(IMAGE, "WEBP", lossless=True, exif=exif(6)),
    "xmp in webp": png(IMAGE, "WEBP", lossless=True, xmp=xmp(6)),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_the_orientation_is_found_wherever_it_is(content):
    original = JPEG if content.startswith(b"\xff\xd8") else PNG
    assert np.array_equal(pixels(content), turned(original, 6))


def rational(kind: int, value: bytes) -> bytes:
    """An EXIF block with an orientation of 6, and a resolution that no program can use."""
    head = b"II*\0\x08\0\0\0\2\0" + struct.pack("<HHII", 0x011A, kind, 1, 38)
    return head + struct.pack("<HHIHxx", ORIENTATION, 3, 1, 6) + bytes(4) + value


ODD = {
    "nan": (rational(11, struct.pack("<f", np.nan)), 6),
    "negative": (rational(5, struct.pack("<ii", -1, -1)), 6),
    "division by zero": (rational(10, struct.pack("<ii", 1, 0)), 6),
    "unknown type": (rational(99, b""), 6),
    "beyond the end": (rational(5, b""), 6),
    "a web address": (b"http://ns.adobe.com/xap", 1),
    "big tiff": (b"II+\0\x08\0\0\0\x08\0\0\0\0\0\0\0", 1),
    "text as orientation": (exif(6).replace(b"\x12\x01\3", b"\x12\x01\2"), 1),
    "a ninth orientation": (exif(9), 1),
    "cut": (exif(6)[:18], 1),
    "no entries": (b"II*\0\x08\0\0\0", 1),
    "an offset far away": (b"II*\0\xff\xff\xff\x7f", 1),
    "one byte": (b"I", 1),
}


@pytest.mark.parametrize("block", ODD.values(), ids=ODD)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "raw profile", "WEBP"])
def test_odd_exif_leaves_the_image_as_it_is_stored(block, kind):
    block, orientation = block
    if kind == "JPEG":
        content, original = with_segments(JPEG, (0xE1, b"Exif\0\0" + block)), JPEG
    elif kind == "WEBP":
        content, original = png(IMAGE, "WEBP", lossless=True, exif=block), PNG
    else:
        text = chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(block))
        content, original = with_chunks(PNG, chunk(b"eXIf", block) if kind == "PNG" else text), PNG
    assert np.array_equal(pixels(content), turned(original, orientation))


@pytest.mark.parametrize("text", [b"", b"\nexif\n 10\nzzzz\n", b"\nexif\n8\n\xff\n", b"\n\n\n5\n"])
def test_an_odd_raw_profile_leaves_the_image_as_it_is_stored(text):
    content = with_chunks(PNG, chunk(b"tEXt", b"Raw profile type exif\0" + text))
    assert np.array_equal(pixels(content), np.asarray(IMAGE))


def test_a_wrong_checksum_matters_where_the_pixels_are_alone():
    orientation = chunk(b"eXIf", exif(6))
    content = with_chunks(PNG, orientation[:-1] + bytes([orientation[-1] ^ 1]))
    assert np.array_equal(pixels(content), np.asarray(IMAGE))
    place = PNG.index(b"IDAT") + 10
    with pytest.raises(InvalidImageError, match="the checksum of its chunk IDAT is wrong"):
        pixels(PNG[:place] + bytes([PNG[place] ^ 1]) + PNG[place + 1 :])


def test_nothing_but_pixels_is_left():
    image = decode(io.BytesIO(png(IMAGE, "JPEG", exif=EXIF, icc_profile=ICC, comment=b"secret")))
    assert set(image.info) == {"original_size"}
    assert not image.getexif()


@pytest.mark.parametrize("size", [0, 70_000, 2_000_000])
def test_a_colour_profile_changes_nothing(size):
    assert np.array_equal(pixels(png(IMAGE, icc_profile=ICC + bytes(size))), np.asarray(IMAGE))
    assert np.array_equal(pixels(png(IMAGE, "JPEG", quality=95, icc_profile=ICC + bytes(size))), pixels(JPEG))


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(images_with_damaged_metadata())
def test_hundreds_of_images_with_damaged_metadata_are_read(content):
    try:
        shape = pixels(content).shape
    except InvalidImageError:  # the palette and the transparency belong to the pixels
        assert b"PLTE" in content or b"tRNS" in content or b"acTL" in content
    else:
        assert {*shape[:2]} == {24, 32}


class CountedBytes(bytes):
    """Bytes that count how many of them are copied by slices."""

    copied = 0

    def __getitem__(self, place):
        part = super().__getitem__(place)
        if not isinstance(place, slice):
            return part
        CountedBytes.copied += len(part)
        return CountedBytes(part)


def test_no_number_of_prefixes_copies_exif_more_than_once():
    """Five megabytes of prefixes would be copied 800,000 times, which takes half a minute."""
    block = CountedBytes(b"Exif\0\0" * 1000 + exif(6))
    assert read_orientation(block, b"") == 6
    assert CountedBytes.copied < 2 * len(block)


@pytest.mark.parametrize("text", [raw_profile(exif(6)), b"\n" * 2**20], ids=["orientation", "empty"])
@pytest.mark.parametrize(
    ("kind", "head"),
    [(b"zTXt", b"Raw profile type exif\0\0"), (b"iTXt", TEXT + b"\0\1\0\0\0")],
    ids=["exif", "xmp"],
)
def test_of_many_packed_texts_one_is_unpacked(monkeypatch, kind, head, text):
    """Five megabytes have room for 4,800 texts of a mebibyte."""
    unpacked, decompressobj = [], zlib.decompressobj
    monkeypatch.setattr(metadata.zlib, "decompressobj", lambda: unpacked.append(1) or decompressobj())
    content = with_chunks(PNG, chunk(kind, head + zlib.compress(text)) * 20)
    metadata.separate_png(content)
    assert len(unpacked) == 1


def test_the_last_of_several_texts_counts():
    texts = [chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(exif(orientation))) for orientation in (3, 6)]
    assert np.array_equal(pixels(with_chunks(PNG, *texts)), turned(PNG, 6))


@pytest.mark.parametrize("text", [b"\n" * 4_000_000, b"\n\n\n" + b"49\n" * 1_300_000], ids=["line ends", "digits"])
def test_a_raw_profile_of_many_short_lines_takes_little_memory(text):
    content = with_chunks(PNG, chunk(b"tEXt", b"Raw profile type exif\0" + text))
    tracemalloc.start()
    metadata.separate_png(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * len(content)


def test_a_png_of_nothing_but_chunks_is_damaged():
    with pytest.raises(InvalidImageError, match=r"is damaged: it has more than 100,000 chunks"):
        pixels(with_chunks(PNG, chunk(b"tRNS", b"") * 100_000))
