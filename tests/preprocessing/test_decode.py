"""What is decoded, what is refused, and the limits that hold before the first pixel."""

import contextlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fashion.errors import InputError, InvalidImageError, UnsupportedImageError
from fashion.preprocessing.decode import ORIGINAL_SIZE, decode, load, open_checked


def encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


SAMPLE = Image.effect_noise((200, 300), 60).convert("RGB")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", UnsupportedImageError, "is not an image, expected PNG, JPEG, WebP, AVIF or HEIC"),
        (b"just text", UnsupportedImageError, "is not an image"),
        (encoded(SAMPLE, "GIF"), UnsupportedImageError, "is a GIF image; send PNG, JPEG, WebP, AVIF or HEIC"),
        (encoded(SAMPLE, "TIFF"), UnsupportedImageError, "is a TIFF image; send PNG, JPEG, WebP, AVIF or HEIC"),
        (encoded(SAMPLE, "PNG")[:300], InvalidImageError, "is damaged: "),
        (
            encoded(Image.new("L", (9000, 10)), "PNG"),
            InvalidImageError,
            "is 9000 x 10 pixels, expected at most 8,192 a side",
        ),
        (
            encoded(Image.new("1", (6000, 6000)), "PNG"),
            InvalidImageError,
            "is 6000 x 6000 pixels, expected at most",
        ),
    ],
    ids=["empty", "text", "gif", "tiff", "truncated", "long side", "many pixels"],
)
def test_a_bad_file_is_refused_in_one_sentence(content, error, message):
    with pytest.raises(error, match=message):
        decode(io.BytesIO(content))


def test_a_large_jpeg_is_decoded_at_a_reduced_scale_that_is_on_record():
    image = decode(io.BytesIO(encoded(Image.new("RGB", (4000, 3000)), "JPEG")))
    assert image.size == (1000, 750)
    assert image.info[ORIGINAL_SIZE] == (4000, 3000)


JPEG = encoded(SAMPLE, "JPEG")
PROGRESSIVE, RESTARTING = (io.BytesIO() for _ in range(2))
SAMPLE.save(PROGRESSIVE, "JPEG", progressive=True)
SAMPLE.save(RESTARTING, "JPEG", restart_marker_rows=1)
JPEGS = {"baseline": JPEG, "progressive": PROGRESSIVE.getvalue(), "restarting": RESTARTING.getvalue()}
VIDEO = bytes(8) + b"\xff\xda" * 500 + b"\xff\xd8\xff" + bytes(range(256)) * 40


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize(
    "behind",
    [b"\xff\xd9", b"\xff\xd9" + VIDEO, b"\xff\xd9" + JPEG, b"", JPEG],
    ids=["end", "video", "second image", "no end", "no end, second image"],
)
def test_only_the_first_image_of_a_jpeg_is_looked_at(content, behind):
    """Phones append videos and second images, and leave out the end marker of panoramas."""
    expected = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(np.asarray(decode(io.BytesIO(content[:-2] + behind))), expected)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "content",
    [b" " * 5_000_000, b"\r\n" * 2_500_000, b"<?xml " * 800_000, JPEG[:-2] + b"\xff" * 5_000_000],
    ids=["spaces", "line ends", "declarations", "fill bytes"],
)
def test_a_file_of_repeated_bytes_is_read_or_refused_like_any_other(content):
    """A search that starts anew at each byte would take hours, and stop a server's other threads meanwhile."""
    with contextlib.suppress(InputError):
        decode(io.BytesIO(content))


def test_a_marker_without_a_length_hides_no_scans():
    assert open_checked(JPEG[:-2] + b"\xff\x01" + JPEG[JPEG.index(b"\xff\xda") :]).file.scans == 2


def test_a_video_and_a_thumbnail_have_no_scans():
    thumbnail = b"\xff\xe1\xff\xff" + (b"Exif\0\0" + b"\xff\xda" * 40_000)[:65_533]
    assert open_checked(JPEG[:2] + thumbnail + JPEG[2:] + VIDEO).file.scans == 1


@pytest.mark.parametrize("content", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("side", [16, 640])
def test_a_jpeg_that_lacks_rows_is_damaged(content, kept, side):
    with pytest.raises(InvalidImageError, match=r"is damaged: its end is missing"):
        load(open_checked(content[: int(len(content) * kept)]), side)


def test_a_jpeg_of_nothing_but_markers_is_damaged():
    with pytest.raises(InvalidImageError, match=r"is damaged: it has more than 10,000 segments"):
        decode(io.BytesIO(JPEG[:2] + b"\xff\xfe\0\2" * 1_000_000))


LIMITS = """
import io, threading
import cv2, pillow_heif
from PIL import AvifImagePlugin, Image, PngImagePlugin
before = (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_MEMORY, cv2.getNumThreads())
from fashion.preprocessing import decode, fashion_mnist as prepare, limits
assert (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_MEMORY, cv2.getNumThreads()) == before
stream = io.BytesIO()
Image.new("L", (40, 40)).save(stream, "PNG")
decode.open_checked(stream.getvalue())
assert Image.MAX_IMAGE_PIXELS is None
assert PngImagePlugin.MAX_TEXT_MEMORY == PngImagePlugin.MAX_TEXT_CHUNK
assert AvifImagePlugin.DEFAULT_MAX_THREADS == pillow_heif.options.DECODE_THREADS == 1
assert "HEIF" in Image.OPEN
limits.use_one_opencv_thread()
assert cv2.getNumThreads() == 1
"""


@pytest.mark.process
def test_limits_of_the_libraries_are_set_by_the_first_file_and_not_by_an_import():
    run = subprocess.run([sys.executable, "-c", LIMITS], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
