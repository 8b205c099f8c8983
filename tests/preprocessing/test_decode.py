"""What is decoded, what is refused, and the limits that hold before the first pixel."""

import io
import subprocess
import sys

import pytest
from PIL import Image

from fashion.errors import InvalidImageError, UnsupportedImageError
from fashion.preprocessing.decode import ORIGINAL_SIZE, decode


def encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


SAMPLE = Image.effect_noise((200, 300), 60).convert("RGB")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", UnsupportedImageError, "is not an image, expected PNG, JPEG or WebP"),
        (b"just text", UnsupportedImageError, "is not an image"),
        (encoded(SAMPLE, "GIF"), UnsupportedImageError, "is not an image"),
        (encoded(SAMPLE, "TIFF"), UnsupportedImageError, "is not an image"),
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


LIMITS = """
import io, threading
import cv2
from PIL import Image, PngImagePlugin
before = (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_MEMORY, cv2.getNumThreads())
from fashion.preprocessing import decode, limits, prepare
assert (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_MEMORY, cv2.getNumThreads()) == before
stream = io.BytesIO()
Image.new("L", (40, 40)).save(stream, "PNG")
decode.open_checked(stream.getvalue())
assert Image.MAX_IMAGE_PIXELS is None
assert PngImagePlugin.MAX_TEXT_MEMORY == PngImagePlugin.MAX_TEXT_CHUNK
limits.use_one_opencv_thread()
assert cv2.getNumThreads() == 1
"""


@pytest.mark.process
def test_limits_of_the_libraries_are_set_by_the_first_file_and_not_by_an_import():
    run = subprocess.run([sys.executable, "-c", LIMITS], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
