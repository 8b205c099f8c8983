"""From any picture to the 28 x 28 grey pixels that the model knows.

Fashion-MNIST was made from product photos in seven steps (Xiao et al., 2017, arXiv:1708.07747, section 2); the same
steps are taken here. A picture that is 28 x 28 and grey is taken to be in the data set's form already.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

from fashion.errors import FashionError

SIDE = 28
FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS, MOST_SIDE = 25_000_000, 8_192
# "Trimming any edges that are close to the color of the corner pixels": within 5 % of the largest distance in RGB.
TRIM_DISTANCE = 0.05 * 255 * np.sqrt(3)
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


def read(path: Path) -> Prepared:
    """Read a picture file and prepare it.

    Raises:
        FashionError: When the file is missing, not a PNG, JPEG or WebP picture, damaged, or too large.
    """
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path, formats=FORMATS) as picture,
        ):
            width, height = picture.size
            if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
                raise FashionError(
                    f"{path}: is {width} x {height} pixels, expected at most {MOST_SIDE:,} a side and "
                    f"{MOST_PIXELS / 1e6:.0f} million in all; make it smaller"
                )
            picture.load()
            return prepare(picture)
    except FileNotFoundError:
        raise FashionError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        raise FashionError(f"{path}: is not a picture, expected PNG, JPEG or WebP") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FashionError(f"{path}: cannot be read as a picture ({reason})") from None


def prepare(picture: Image.Image) -> Prepared:
    """Turn a picture into the model's 28 x 28 pixels.

    Args:
        picture: A loaded picture in any mode.

    Returns:
        The pixels, and the steps taken.
    """
    if picture.size == (SIDE, SIDE) and picture.mode == "L":
        return Prepared(np.asarray(picture), ("taken as it is: 28 x 28 grey",))
    rgb = _upright_rgb(picture)
    corner = _corner_colour(rgb)
    trimmed = _trim(rgb, corner)
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


def _upright_rgb(picture: Image.Image) -> Image.Image:
    """Turn by the camera's note, bring to 8 bits a channel, and lay transparent parts on white."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits a pixel
        picture = Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _corner_colour(rgb: Image.Image) -> tuple[int, int, int]:
    """Return the median of the four corner pixels: one odd corner does not decide."""
    corners = np.asarray(rgb)[[0, 0, -1, -1], [0, -1, 0, -1]]
    red, green, blue = np.median(corners, axis=0).astype(int)
    return int(red), int(green), int(blue)


def _trim(rgb: Image.Image, corner: tuple[int, int, int]) -> Image.Image:
    """Cut away edges whose pixels are all close to the corner colour; a picture of one colour stays whole."""
    distance = np.linalg.norm(np.asarray(rgb, np.float32) - np.array(corner, np.float32), axis=2)
    rows, columns = (np.flatnonzero((distance > TRIM_DISTANCE).any(axis=axis)) for axis in (1, 0))
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
