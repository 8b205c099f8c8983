"""From any picture file to the 28 x 28 grey pixels that the model knows, within limits on what a file may hold."""

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from fashion.errors import FashionError, InputError, InvalidImageError, UnsupportedImageError
from fashion.preprocessing import product, rgb, segmentation
from fashion.preprocessing.model_input import SIDE, ModelInput

FORMATS = ("PNG", "JPEG", "WEBP")
SIGNATURES = (rb"\x89PNG\r\n\x1a\n", rb"\xff\xd8\xff", rb"RIFF....WEBP")
PNG_SIGNATURE, PNG_CHUNK_FRAME = b"\x89PNG\r\n\x1a\n", 12  # length, kind and checksum, four bytes each
MOST_PIXELS, MOST_SIDE, MOST_ASPECT = 25_000_000, 8_192, 50
_LIMITS = f"at most {MOST_SIDE:,} a side and {MOST_PIXELS / 1e6:.0f} million in all"
# Pillow's own limit is laxer, and above half of it only warns.
Image.MAX_IMAGE_PIXELS = None
# A progressive JPEG has about ten scans, its thumbnail as many. Each goes over all pixels, however few bytes it has.
MOST_SCANS = 100
NEEDED_SIDE = 640  # pixels: twice what a cut-out is made from, so that shrinking smooths
SENT_SIZE = "sent_size"  # a note on the picture
START_OF_SCAN = b"\xff\xda"  # within a scan a zero follows every 255, so these bytes are nothing else there
# Text beside the picture is never shown: a few bytes that unpack to Pillow's own 64 MiB are an attack.
PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK


def read(path: Path) -> ModelInput:
    """Read a picture file and prepare it.

    Raises:
        InputError: When the file is missing, not a PNG, JPEG or WebP picture, damaged, or too large.
    """
    try:
        with path.open("rb") as stream:
            return prepare(decode(stream))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except FashionError as error:
        raise InputError(f"{path}: {error}") from None


def decode(stream: IO[bytes]) -> Image.Image:
    """Return the picture that a file holds, with its pixels; see ``open_checked`` for what is refused."""
    picture = open_checked(stream.read())
    load(picture)
    return picture


def open_checked(content: bytes) -> Image.Image:
    """Open the content of a file as a picture, no pixel of which is decoded yet.

    What it claims to be is found in it, never in a name.

    Raises:
        UnsupportedImageError: When it is not a PNG, JPEG or WebP file.
        InvalidImageError: When its header is damaged, it is an animation, or it has too many pixels, too long a side,
            too odd a shape or too many scans.
    """
    if not any(re.match(signature, content, re.DOTALL) for signature in SIGNATURES):
        raise UnsupportedImageError("is not a picture, expected PNG, JPEG or WebP")
    scans = content.count(START_OF_SCAN) if content.startswith(b"\xff\xd8") else 0
    if scans > MOST_SCANS:
        raise InvalidImageError(f"has {scans} scans, expected at most {MOST_SCANS}; save it as an ordinary JPEG")
    with _damage_told():
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        _refuse_extremes(picture)
    if picture.format == "PNG":
        _refuse_wrong_checksums(content)
    return picture


def load(picture: Image.Image, side: int = NEEDED_SIDE) -> None:
    """Decode the pixels of a picture; of a large JPEG an eighth, a quarter or half of them, which takes less time.

    Args:
        picture: As ``open_checked`` returned it.
        side: So many pixels each side keeps at least, if it has them.

    Raises:
        InvalidImageError: When it is damaged.
    """
    with _damage_told():
        picture.info[SENT_SIZE] = picture.size
        picture.draft(picture.mode, (side, side))
        picture.load()


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        raise InvalidImageError("is damaged: its header cannot be read") from None
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error) as error:  # all from damaged files
        raise InvalidImageError(f"is damaged: {error}") from None


def _refuse_wrong_checksums(content: bytes) -> None:
    """Compare the checksum of every chunk of a PNG; decoding looks at few of them."""
    view = memoryview(content)
    place = len(PNG_SIGNATURE)
    while place + PNG_CHUNK_FRAME <= len(content):
        end = place + 8 + int.from_bytes(view[place : place + 4])
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4]):
            kind = bytes(view[place + 4 : place + 8])
            raise InvalidImageError(f"is damaged: the checksum of its chunk {kind.decode(errors='replace')} is wrong")
        if view[place + 4 : place + 8] == b"IEND":
            return
        place = end + 4


def _refuse_extremes(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
        raise InvalidImageError(f"is {width} x {height} pixels, expected {_LIMITS}; make it smaller")
    if max(width, height) > MOST_ASPECT * min(width, height):
        raise InvalidImageError(
            f"is {width} x {height} pixels, expected at most {MOST_ASPECT} times as long as wide; crop it"
        )
    # Phones put a second picture behind the first of a JPEG: that is not an animation.
    if picture.format in {"PNG", "WEBP"} and getattr(picture, "is_animated", False):
        raise InvalidImageError("is an animation, expected a still one; save a frame")


def prepare(picture: Image.Image) -> ModelInput:
    """Turn a picture into the model's 28 x 28 pixels.

    28 x 28 grey pixels are taken as they are; a product on near white or near black goes the data set's own way, as do
    pictures too small for another; anything else is taken to be a photo, from which the object is cut out.

    Args:
        picture: A loaded picture in any mode; it may be turned in place.
    """
    if picture.size == (SIDE, SIDE) and picture.mode == "L":
        return ModelInput(np.asarray(picture), ("taken as it is: 28 x 28 grey",))
    sent, decoded = picture.info.get(SENT_SIZE, picture.size), picture.size
    ImageOps.exif_transpose(picture, in_place=True)
    small = rgb.reduced(picture, segmentation.DETAIL_SIDE)
    if product.shows_product(small):
        prepared = product.prepare(picture)
    elif min(picture.size) < segmentation.LEAST_SIDE:
        prepared = product.seven_steps(picture)
    else:
        prepared = segmentation.prepare(small)
    if sent == decoded:
        return prepared
    smaller = f"made smaller: {decoded[0]} x {decoded[1]} of {sent[0]} x {sent[1]}"
    return prepared._replace(steps=(smaller, *prepared.steps))
