"""From the bytes of an image file to its pixels, within limits on what a file may contain."""

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from fashion.errors import InvalidImageError, UnsupportedImageError
from fashion.preprocessing.limits import set_decoder_limits

FORMATS = ("PNG", "JPEG", "WEBP")
FILE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}  # by which folders are searched; the content decides what a file is
SIGNATURES = (rb"\x89PNG\r\n\x1a\n", rb"\xff\xd8\xff", rb"RIFF....WEBP")
PNG_SIGNATURE, PNG_CHUNK_FRAME = b"\x89PNG\r\n\x1a\n", 12  # length, type and checksum, four bytes each
MAX_PIXELS, MAX_SIDE, MAX_ASPECT = 25_000_000, 8_192, 50
_LIMITS = f"at most {MAX_SIDE:,} a side and {MAX_PIXELS / 1e6:.0f} million in all"
# A progressive JPEG has about ten scans, its thumbnail as many. Each passes over all pixels, however few bytes it has.
MAX_SCANS = 100
NEEDED_SIDE = 640  # pixels: twice the detail that segmentation works from, so that shrinking smooths
ORIGINAL_SIZE = "original_size"  # key of Image.info: width and height before a JPEG was decoded at a reduced scale
START_OF_SCAN = b"\xff\xda"  # within a scan a zero follows every 255, so these bytes are nothing else there


def decode(stream: io.BufferedIOBase) -> Image.Image:
    """Return the image in a file with its pixels; see ``open_checked`` for what is refused."""
    image = open_checked(stream.read())
    load(image)
    return image


def open_checked(content: bytes) -> Image.Image:
    """Open the content of a file as an image without decoding any pixel.

    The format is detected from the content, never from a file name.

    Raises:
        UnsupportedImageError: When it is not a PNG, JPEG or WebP file.
        InvalidImageError: When its header is damaged, it is an animation, or it has too many pixels, too long a side,
            too extreme an aspect ratio or too many scans.
    """
    set_decoder_limits()
    if not any(re.match(signature, content, re.DOTALL) for signature in SIGNATURES):
        raise UnsupportedImageError("is not an image, expected PNG, JPEG or WebP")
    scans = content.count(START_OF_SCAN) if content.startswith(b"\xff\xd8") else 0
    if scans > MAX_SCANS:
        raise InvalidImageError(f"has {scans} scans, expected at most {MAX_SCANS}; save it as an ordinary JPEG")
    with _damage_reported():
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        _refuse_extremes(image)
    if image.format == "PNG":
        _refuse_wrong_checksums(content)
    return image


def load(image: Image.Image, side: int = NEEDED_SIDE) -> None:
    """Decode the pixels of an image; a large JPEG at a half, a quarter or an eighth of its size, which is faster.

    Args:
        image: As ``open_checked`` returned it.
        side: Each side keeps at least this many pixels, if it has them.

    Raises:
        InvalidImageError: When it is damaged.
    """
    with _damage_reported():
        image.info[ORIGINAL_SIZE] = image.size
        image.draft(image.mode, (side, side))
        image.load()


@contextlib.contextmanager
def _damage_reported() -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        raise InvalidImageError("is damaged: its header cannot be read") from None
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error) as error:  # all from damaged files
        raise InvalidImageError(f"is damaged: {error}") from None


def _refuse_wrong_checksums(content: bytes) -> None:
    """Compare the checksum of every chunk of a PNG; decoding verifies only a few of them."""
    view = memoryview(content)
    start = len(PNG_SIGNATURE)
    while start + PNG_CHUNK_FRAME <= len(content):
        end = start + 8 + int.from_bytes(view[start : start + 4])
        if zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4]):
            kind = bytes(view[start + 4 : start + 8])
            raise InvalidImageError(f"is damaged: the checksum of its chunk {kind.decode(errors='replace')} is wrong")
        if bytes(view[start + 4 : start + 8]) == b"IEND":
            return
        start = end + 4


def _refuse_extremes(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise InvalidImageError(f"is {width} x {height} pixels, expected {_LIMITS}; make it smaller")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidImageError(
            f"is {width} x {height} pixels, expected at most {MAX_ASPECT} times as long as wide; crop it"
        )
    # Phones put a second image behind the first of a JPEG: that is not an animation.
    if image.format in {"PNG", "WEBP"} and getattr(image, "is_animated", False):
        raise InvalidImageError("is an animation, expected a still image; save a single frame")
