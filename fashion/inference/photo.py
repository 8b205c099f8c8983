"""From any picture to the 28 x 28 grey pixels that the model knows.

Fashion-MNIST was made from product photos in seven steps (Xiao et al., 2017, arXiv:1708.07747, section 2); the same
steps are taken here. A picture that is 28 x 28 and grey is taken to be in the data set's form already.
"""

import re
import struct
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps, PngImagePlugin, UnidentifiedImageError

from fashion.errors import FashionError

SIDE = 28
FORMATS = ("PNG", "JPEG", "WEBP")
SIGNATURES = (rb"\x89PNG\r\n\x1a\n", rb"\xff\xd8\xff", rb"RIFF....WEBP")
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
TRIM_ROWS = 64
# The product thumbnails that the data set was made from are 73 pixels high; photos have far more, and keeping one
# pixel in many of theirs would keep noise.
THUMBNAIL_SIDE = 73
LIGHT = 128


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
    """Return the picture that a file holds; what it claims to be is found in its content, never in a name.

    Size and kind are looked at before a single pixel is decoded.

    Raises:
        UnknownFormatError: When it is not a PNG, JPEG or WebP file.
        BadPictureError: When it is damaged, an animation, or has too many pixels, too long a side, too odd a shape or
            too many scans.
    """
    head = stream.read(12)
    stream.seek(0)
    if not any(re.match(signature, head, re.DOTALL) for signature in SIGNATURES):
        raise UnknownFormatError("is not a picture, expected PNG, JPEG or WebP")
    scans = stream.read().count(START_OF_SCAN) if head.startswith(b"\xff\xd8") else 0
    if scans > MOST_SCANS:
        raise BadPictureError(f"has {scans} scans, expected at most {MOST_SCANS}; save it as an ordinary JPEG")
    stream.seek(0)
    try:
        picture = Image.open(stream, formats=FORMATS)
        _refuse_extremes(picture)
        if picture.format == "PNG":
            picture.verify()  # the checksum of every chunk; decoding looks at few. The picture is used up by it
            stream.seek(0)
            picture = Image.open(stream, formats=FORMATS)
        picture.load()
    except UnidentifiedImageError:
        raise BadPictureError("is damaged: its header cannot be read") from None
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error) as error:  # all from damaged files
        raise BadPictureError(f"is damaged: {error}") from None
    return picture


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
        picture: A loaded picture in any mode.

    Returns:
        The pixels, and the steps taken.
    """
    if picture.size == (SIDE, SIDE) and picture.mode == "L":
        return Prepared(np.asarray(picture), ("taken as it is: 28 x 28 grey",))
    rgb = upright_rgb(picture)
    pixels = np.asarray(rgb)
    corner = _corner_colour(pixels)
    trimmed = _trim(rgb, pixels, corner)
    small = _subsample(trimmed)
    sharp = small.filter(ImageFilter.UnsharpMask(radius=1, percent=100, threshold=0))
    square = Image.new("RGB", (SIDE, SIDE), corner)
    square.paste(sharp, ((SIDE - sharp.width) // 2, (SIDE - sharp.height) // 2))
    grey = square.convert("L")
    steps = [
        f"trimmed from {rgb.width} x {rgb.height} to {trimmed.width} x {trimmed.height}",
        f"resized to {small.width} x {small.height}, sharpened, centred",
    ]
    if np.asarray(Image.new("RGB", (1, 1), corner).convert("L"))[0, 0] >= LIGHT:
        grey = ImageOps.invert(grey)
        steps.append("negated: its background is light")
    return Prepared(np.asarray(grey), tuple(steps))


def upright_rgb(picture: Image.Image) -> Image.Image:
    """Turn by the camera's note, bring to 8 bits a channel, and lay transparent parts on white."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits a pixel
        picture = Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _corner_colour(pixels: np.ndarray) -> tuple[int, int, int]:
    """Return the median of the four corner pixels: one odd corner does not decide."""
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    red, green, blue = np.median(corners, axis=0).astype(int)
    return int(red), int(green), int(blue)


def _trim(rgb: Image.Image, pixels: np.ndarray, corner: tuple[int, int, int]) -> Image.Image:
    """Cut away edges whose pixels are all close to the corner colour; a picture of one colour stays whole."""
    row_differs, column_differs = np.zeros(rgb.height, bool), np.zeros(rgb.width, bool)
    for top in range(0, rgb.height, TRIM_ROWS):  # by strips: 25 megapixels as float32 would be 300 MB
        strip = pixels[top : top + TRIM_ROWS].astype(np.float32)
        distance = np.linalg.norm(strip - np.array(corner, np.float32), axis=2)
        differs = distance > TRIM_DISTANCE
        row_differs[top : top + TRIM_ROWS] = differs.any(axis=1)
        column_differs |= differs.any(axis=0)
    rows, columns = np.flatnonzero(row_differs), np.flatnonzero(column_differs)
    if not len(rows):
        return rgb
    return rgb.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _subsample(rgb: Image.Image) -> Image.Image:
    """Bring the longest edge to 28 by keeping single pixels of a thumbnail, as the data set did."""
    thumbnail = rgb.copy()
    thumbnail.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    scale = SIDE / max(thumbnail.size)
    width, height = (max(1, round(side * scale)) for side in thumbnail.size)
    return thumbnail.resize((width, height), Image.Resampling.NEAREST)
