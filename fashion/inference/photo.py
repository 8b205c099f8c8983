"""From any picture to the 28 x 28 grey pixels that the model knows.

Fashion-MNIST was made from product photos in seven steps (Xiao et al., 2017, arXiv:1708.07747, section 2); the same
steps are taken here. A picture that is 28 x 28 and grey is taken to be in the data set's form already.
"""

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps, PngImagePlugin, UnidentifiedImageError

from fashion.errors import FashionError

SIDE = 28
FORMATS = ("PNG", "JPEG", "WEBP")
SIGNATURES = (rb"\x89PNG\r\n\x1a\n", rb"\xff\xd8\xff", rb"RIFF....WEBP")
PNG_SIGNATURE, PNG_CHUNK_FRAME = b"\x89PNG\r\n\x1a\n", 12  # length, kind and checksum, four bytes each
MOST_PIXELS, MOST_SIDE, MOST_ASPECT = 25_000_000, 8_192, 50
_LIMITS = f"at most {MOST_SIDE:,} a side and {MOST_PIXELS / 1e6:.0f} million in all"
# Pillow's own limit is laxer, and above half of it only warns.
Image.MAX_IMAGE_PIXELS = None
# A progressive JPEG has about ten scans, its thumbnail as many. Each goes over all pixels, however few bytes it has.
MOST_SCANS = 100
START_OF_SCAN = b"\xff\xda"  # within a scan a zero follows every 255, so these bytes are nothing else there
# Text beside the picture is never shown: a few bytes that unpack to Pillow's own 64 MiB are an attack.
PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK
# "Trimming any edges that are close to the color of the corner pixels": within 5 % of the largest distance in RGB.
TRIM_DISTANCE = 0.05 * 255 * np.sqrt(3)
STRIP_ROWS = 64
# The product thumbnails that the data set was made from are 73 pixels high; photos have far more, and keeping one
# pixel in many of theirs would keep noise.
THUMBNAIL_SIDE = 73
LIGHT = 128

Box = tuple[int, int, int, int]  # left, top, right, bottom


class Prepared(NamedTuple):
    """What the model sees, and what was done to get it.

    Attributes:
        pixels: ``(28, 28)`` uint8, 0-255, light on black as in Fashion-MNIST.
        steps: One phrase for each thing done.
    """

    pixels: np.ndarray
    steps: tuple[str, ...]


class UnknownFormatError(FashionError):
    """A file that is none of the accepted kinds of picture."""


class BadPictureError(FashionError):
    """A picture of an accepted kind that is damaged, an animation, or too large."""


def read(path: Path) -> Prepared:
    """Read a picture file and prepare it.

    Raises:
        FashionError: When the file is missing, not a PNG, JPEG or WebP picture, damaged, or too large.
    """
    try:
        with path.open("rb") as stream:
            return prepare(decode(stream))
    except FileNotFoundError:
        raise FashionError(f"{path}: there is no such file") from None
    except OSError as error:
        raise FashionError(f"{path}: cannot be read ({error.strerror})") from None
    except FashionError as error:
        raise FashionError(f"{path}: {error}") from None


def decode(stream: IO[bytes]) -> Image.Image:
    """Return the picture that a file holds, with its pixels; see ``open_checked`` for what is refused."""
    picture = open_checked(stream.read())
    load(picture)
    return picture


def open_checked(content: bytes) -> Image.Image:
    """Open the content of a file as a picture, no pixel of which is decoded yet.

    What it claims to be is found in it, never in a name.

    Raises:
        UnknownFormatError: When it is not a PNG, JPEG or WebP file.
        BadPictureError: When its header is damaged, it is an animation, or it has too many pixels, too long a side, too
            odd a shape or too many scans.
    """
    if not any(re.match(signature, content, re.DOTALL) for signature in SIGNATURES):
        raise UnknownFormatError("is not a picture, expected PNG, JPEG or WebP")
    scans = content.count(START_OF_SCAN) if content.startswith(b"\xff\xd8") else 0
    if scans > MOST_SCANS:
        raise BadPictureError(f"has {scans} scans, expected at most {MOST_SCANS}; save it as an ordinary JPEG")
    with _damage_told():
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        _refuse_extremes(picture)
    if picture.format == "PNG":
        _refuse_wrong_checksums(content)
    return picture


def load(picture: Image.Image) -> None:
    """Decode the pixels of a picture.

    Raises:
        BadPictureError: When it is damaged.
    """
    with _damage_told():
        picture.load()


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        raise BadPictureError("is damaged: its header cannot be read") from None
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error) as error:  # all from damaged files
        raise BadPictureError(f"is damaged: {error}") from None


def _refuse_wrong_checksums(content: bytes) -> None:
    """Compare the checksum of every chunk of a PNG; decoding looks at few of them."""
    view = memoryview(content)
    place = len(PNG_SIGNATURE)
    while place + PNG_CHUNK_FRAME <= len(content):
        end = place + 8 + int.from_bytes(view[place : place + 4])
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4]):
            kind = bytes(view[place + 4 : place + 8])
            raise BadPictureError(f"is damaged: the checksum of its chunk {kind.decode(errors='replace')} is wrong")
        if view[place + 4 : place + 8] == b"IEND":
            return
        place = end + 4


def _refuse_extremes(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
        raise BadPictureError(f"is {width} x {height} pixels, expected {_LIMITS}; make it smaller")
    if max(width, height) > MOST_ASPECT * min(width, height):
        raise BadPictureError(
            f"is {width} x {height} pixels, expected at most {MOST_ASPECT} times as long as wide; crop it"
        )
    # Phones put a second picture behind the first of a JPEG: that is not an animation.
    if picture.format in {"PNG", "WEBP"} and getattr(picture, "is_animated", False):
        raise BadPictureError("is an animation, expected a still one; save a frame")


def prepare(picture: Image.Image) -> Prepared:
    """Turn a picture into the model's 28 x 28 pixels.

    Args:
        picture: A loaded picture in any mode; it may be turned in place.

    Returns:
        The pixels, and the steps taken.
    """
    if picture.size == (SIDE, SIDE) and picture.mode == "L":
        return Prepared(np.asarray(picture), ("taken as it is: 28 x 28 grey",))
    ImageOps.exif_transpose(picture, in_place=True)
    if _on_plain_ground(picture):
        return as_product(picture)
    return _as_photo(picture)


def as_product(picture: Image.Image) -> Prepared:
    """Take the seven steps by which the data set was made from pictures of products on an even ground.

    Args:
        picture: A loaded picture in any mode; it may be turned in place.
    """
    ImageOps.exif_transpose(picture, in_place=True)
    corner = _corner_colour(picture)
    box = _trimmed_box(picture, corner)
    small = _subsample(_rgb(picture, box))
    sharp = small.filter(ImageFilter.UnsharpMask(radius=1, percent=100, threshold=0))
    square = Image.new("RGB", (SIDE, SIDE), corner)
    square.paste(sharp, ((SIDE - sharp.width) // 2, (SIDE - sharp.height) // 2))
    grey = square.convert("L")
    steps = [
        f"trimmed from {picture.width} x {picture.height} to {box[2] - box[0]} x {box[3] - box[1]}",
        f"resized to {small.width} x {small.height}, sharpened, centred",
    ]
    if np.asarray(Image.new("RGB", (1, 1), corner).convert("L"))[0, 0] >= LIGHT:
        grey = ImageOps.invert(grey)
        steps.append("negated: its background is light")
    return Prepared(np.asarray(grey), tuple(steps))


def upright_rgb(picture: Image.Image) -> Image.Image:
    """Turn by the camera's note, bring to 8 bits a channel, and lay transparent parts on white."""
    upright = ImageOps.exif_transpose(picture)
    return _rgb(upright, (0, 0, *upright.size))


def _rgb(picture: Image.Image, box: Box) -> Image.Image:
    """Cut out a part in 8 bits a channel, transparent pixels laid on white: by strips, for copies of all are large."""
    left, top, right, bottom = box
    rgb = Image.new("RGB", (right - left, bottom - top))
    for row in range(top, bottom, STRIP_ROWS):
        strip = picture.crop((left, row, right, min(row + STRIP_ROWS, bottom)))
        if strip.mode.startswith("I"):  # 16 bits a pixel
            strip = Image.fromarray((np.asarray(strip) >> 8).clip(0, 255).astype(np.uint8))
        if "A" in strip.getbands() or "transparency" in strip.info:
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip.convert("RGBA"))
        rgb.paste(strip.convert("RGB"), (0, row - top))
    return rgb


def _corner_colour(picture: Image.Image) -> tuple[int, int, int]:
    """Return the median of the four corner pixels: one odd corner does not decide."""
    width, height = picture.size
    corners = [np.asarray(_rgb(picture, (x, y, x + 1, y + 1)))[0, 0] for x in (0, width - 1) for y in (0, height - 1)]
    red, green, blue = np.median(corners, axis=0).astype(int)
    return int(red), int(green), int(blue)


def _trimmed_box(picture: Image.Image, corner: tuple[int, int, int]) -> Box:
    """Leave out edges whose pixels are all close to the corner colour; a picture of one colour stays whole."""
    width, height = picture.size
    row_differs, column_differs = np.zeros(height, bool), np.zeros(width, bool)
    for top in range(0, height, STRIP_ROWS):
        strip = np.asarray(_rgb(picture, (0, top, width, min(top + STRIP_ROWS, height)))).astype(np.float32)
        distance = np.linalg.norm(strip - np.array(corner, np.float32), axis=2)
        differs = distance > TRIM_DISTANCE
        row_differs[top : top + STRIP_ROWS] = differs.any(axis=1)
        column_differs |= differs.any(axis=0)
    rows, columns = np.flatnonzero(row_differs), np.flatnonzero(column_differs)
    if not len(rows):
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _subsample(thumbnail: Image.Image) -> Image.Image:
    """Bring the longest edge to 28 by keeping single pixels of a thumbnail, as the data set did; made in place."""
    thumbnail.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    scale = SIDE / max(thumbnail.size)
    width, height = (max(1, round(side * scale)) for side in thumbnail.size)
    return thumbnail.resize((width, height), Image.Resampling.NEAREST)
