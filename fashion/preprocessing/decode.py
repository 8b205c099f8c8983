"""From the bytes of an image file to its pixels, within limits on what a file may contain."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, UnidentifiedImageError

from fashion.errors import InputError, InvalidImageError
from fashion.preprocessing import isobmff
from fashion.preprocessing.formats import SEQUENCE_BRANDS, identify
from fashion.preprocessing.limits import set_decoder_limits
from fashion.preprocessing.metadata import JPEG_END, SeparatedFile, separate_jpeg, separate_png
from fashion.preprocessing.orientation import FIRST_QUARTER_TURN, read_orientation, turned
from fashion.preprocessing.transparency import flatten

MAX_PIXELS, MAX_SIDE, MAX_ASPECT = 25_000_000, 8_192, 50
MAX_TILE_PIXELS = 4 * MAX_PIXELS  # of all images in a file: the photo, its transparency, a thumbnail, a depth map
_LIMITS = f"at most {MAX_SIDE:,} a side and {MAX_PIXELS / 1e6:.0f} million in all"
# A progressive JPEG has about ten scans. Each passes over all pixels, however few bytes it has.
MAX_SCANS = 100
IS_ANIMATION = "is an animation, expected a still image; save a single frame"
NEEDED_SIDE = 640  # pixels: twice the detail that segmentation works from, so that shrinking smooths
FILLER = bytes(range(1, 255))  # of the end of a JPEG; a 255 would begin a marker
PNG_BIT_DEPTH = 24  # where its header says it
ORIGINAL_SIZE = "original_size"  # key of Image.info: width and height before a JPEG was decoded at a reduced scale


@dataclass(frozen=True)
class OpenedImage:
    """An image file within the limits, of which no pixel is decoded yet.

    Attributes:
        image: Pillow's view of the file.
        file: The file without its metadata.
        orientation: As EXIF numbers them, 1 to 8.
        pixels: How many are decoded at once; more than the image has where it is cropped.
    """

    image: Image.Image
    file: SeparatedFile
    orientation: int
    pixels: int


def decode(stream: io.BufferedIOBase, side: int = NEEDED_SIDE) -> Image.Image:
    """Return the image in a file with its pixels; see ``open_checked`` and ``load``."""
    return load(open_checked(stream.read()), side)


def decode_file(path: Path, side: int = NEEDED_SIDE) -> Image.Image:
    """Return the image in a file with its pixels; ``side`` as in ``load``.

    Raises:
        InputError: When it cannot be read or is not an image; the message names the file.
    """
    try:
        with path.open("rb") as stream:
            return decode(stream, side)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def open_checked(content: bytes) -> OpenedImage:
    """Open the content of a file as an image without decoding any pixel.

    The format is detected from the content, never from a file name. Of the metadata only the orientation is read; if
    that is not possible, the image is taken as it is stored.

    Raises:
        UnsupportedImageError: When it is of another format than those in ``formats.FORMATS``.
        InvalidImageError: When its header is damaged, it is an animation, or it has too many pixels, too long a side,
            too extreme an aspect ratio or too many scans.
    """
    set_decoder_limits()
    kind = identify(content)
    with _damage_reported():
        file = _separated(kind, content)
    if file.frames > 1:
        raise InvalidImageError(IS_ANIMATION)
    if file.scans > MAX_SCANS:
        raise InvalidImageError(f"has {file.scans} scans, expected at most {MAX_SCANS}; save it as an ordinary JPEG")
    with _damage_reported():
        # Before a decoder reads the file, because this limits its tables.
        inside = _sizes_inside(content) if kind in {"AVIF", "HEIF"} else []
        image = Image.open(io.BytesIO(file.pixels), formats=[kind])
        sizes = [image.size, *inside]
    for size in sizes:
        _refuse_extremes(size)
    # A HEIC file may have several images beside each other, of which one is the photo.
    if kind != "HEIF" and getattr(image, "is_animated", False):
        raise InvalidImageError(IS_ANIMATION)
    if kind == "WEBP":
        file = file._replace(exif=image.info.get("exif", b""), xmp=image.info.get("xmp", b""))
    elif kind == "AVIF":  # Pillow says there how the file's own boxes turn it; HEIC is turned by its decoder
        file = file._replace(exif=image.info.get("exif", b""))
    pixels = max(width * height for width, height in sizes)
    return OpenedImage(image, file, read_orientation(file.exif, file.xmp), pixels)


def load(opened: OpenedImage, side: int = NEEDED_SIDE) -> Image.Image:
    """Decode the pixels of an image; a large JPEG at a half, a quarter or an eighth of its size, which is faster.

    Args:
        opened: As ``open_checked`` returned it.
        side: Each side keeps at least this many pixels, if it has them.

    Returns:
        The image as it is to be seen: upright and opaque, without metadata.

    Raises:
        InvalidImageError: When it is damaged.
    """
    original = opened.image.size
    with _damage_reported():
        opened.image.draft(opened.image.mode, (side, side))
        opened.image.load()
        _refuse_extremes(opened.image.size)  # the decoder of HEIC may find another one than the header said
        if not opened.file.has_end:
            _refuse_missing_pixels(opened.file)
        _scale_transparent_colour(opened)
        image = turned(flatten(opened.image), opened.orientation)
    image.info = {ORIGINAL_SIZE: original[::-1] if opened.orientation >= FIRST_QUARTER_TURN else original}
    return image


@contextlib.contextmanager
def _damage_reported() -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InvalidImageError("is damaged: its header cannot be read") from None
    except Exception as error:  # noqa: BLE001  # what a decoder raises depends on what is wrong with the file
        raise InvalidImageError(f"is damaged: {str(error) or type(error).__name__}") from None


def _separated(kind: str, content: bytes) -> SeparatedFile:
    match kind:
        case "PNG":
            return separate_png(content)
        case "JPEG":
            return separate_jpeg(content)
        case "AVIF" | "HEIF":
            frames = 2 if isobmff.brand(content) in SEQUENCE_BRANDS else 1
            return SeparatedFile(isobmff.without_metadata(content), frames=frames)
        case _:
            return SeparatedFile(content)


def _refuse_missing_pixels(file: SeparatedFile) -> None:
    """Refuse a JPEG without an end marker, unless all of its pixels are there.

    Decoders fill missing pixels in silence. So it is decoded twice at its full size, once with other bytes behind those
    that it has: where pixels are missing, they are made of these.
    """
    longer = file.pixels[: -len(JPEG_END)] + FILLER + JPEG_END
    images = [Image.open(io.BytesIO(content), formats=["JPEG"]) for content in (file.pixels, longer)]
    if ImageChops.difference(*images).getbbox():
        raise InvalidImageError("is damaged: its end is missing")


def _scale_transparent_colour(opened: OpenedImage) -> None:
    """Give the transparent colour of a PNG the range of the pixels, which Pillow converts to 8 bits without it."""
    info = opened.image.info
    if opened.image.format != "PNG" or "transparency" not in info:
        return
    bits = opened.file.pixels[PNG_BIT_DEPTH]
    if opened.image.mode == "RGB" and bits == 16:
        info["transparency"] = tuple(value >> 8 for value in info["transparency"])
    elif opened.image.mode == "L" and bits < 8:
        info["transparency"] = info["transparency"] * 255 // (2**bits - 1)


def _sizes_inside(content: bytes) -> list[isobmff.Size]:
    """Return the sizes of the images in an AVIF or HEIC file, which may be larger than the one that is shown.

    Raises:
        InvalidImageError: When they are more pixels together than any photo has.
    """
    sizes = list(isobmff.av1_sizes(content))
    pixels = max(isobmff.tile_pixels(content), sum(width * height for width, height in sizes))
    if pixels > MAX_TILE_PIXELS:
        raise InvalidImageError(
            f"has tiles of {pixels / 1e6:.0f} million pixels, expected at most {MAX_TILE_PIXELS / 1e6:.0f} million; "
            "save it as an ordinary JPEG"
        )
    return sizes + isobmff.declared_sizes(content)


def _refuse_extremes(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise InvalidImageError(f"is {width} x {height} pixels, expected {_LIMITS}; make it smaller")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidImageError(
            f"is {width} x {height} pixels, expected at most {MAX_ASPECT} times as long as wide; crop it"
        )
