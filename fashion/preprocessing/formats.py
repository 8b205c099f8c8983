"""The formats of image files: what is read, and the names of some that are not."""

import importlib.util
import re
from typing import NamedTuple

from fashion.errors import UnsupportedImageError
from fashion.extras import install_command


class ImageFormat(NamedTuple):
    """A format that is read.

    Attributes:
        label: Its name in messages.
        media_types: As browsers name it.
        suffixes: Of the names of its files; they choose files in folders, and the content decides what a file is.
    """

    label: str
    media_types: tuple[str, ...]
    suffixes: tuple[str, ...]


FORMATS = {  # by Pillow's name
    "PNG": ImageFormat("PNG", ("image/png",), (".png",)),
    "JPEG": ImageFormat("JPEG", ("image/jpeg",), (".jpg", ".jpeg", ".jpe", ".jfif")),
    "WEBP": ImageFormat("WebP", ("image/webp",), (".webp",)),
    "AVIF": ImageFormat("AVIF", ("image/avif",), (".avif",)),
    "HEIF": ImageFormat("HEIC", ("image/heic", "image/heif"), (".heic", ".heif", ".hif")),
}
FILE_SUFFIXES = {suffix for each in FORMATS.values() for suffix in each.suffixes}

HEAD_BYTES = 4096  # of a file, in which its signature is
SIGNATURES = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "WEBP": rb"RIFF....WEBP",
    # The brand, or for a general one, those that the file is compatible with.
    "AVIF": rb"....ftyp(avif|avis|(mif1|msf1|miaf)....(....){0,16}?avi[fs])",
    "HEIF": rb"....ftyp(he(ic|ix|im|is|vc|vx|vm|vs)|mif1|msf1|miaf)",
}
SEQUENCE_BRANDS = {b"avis", b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"}
OTHERS = {  # what people send instead
    "a GIF image": rb"GIF8[79]a",
    "a TIFF image": rb"II[*+]\0|MM\0[*+]",
    "a BMP image": rb"BM....\0\0\0\0",
    "an icon": rb"\0\0[\1\2]\0[\1-\x20]\0",
    "a JPEG 2000 image": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "a JPEG XL image": rb"\0\0\0\x0cJXL |\xff\x0a",
    "a Photoshop document": rb"8BPS",
    "a PDF document": rb"%PDF-",
    # Possessive, so that a file of spaces takes no longer than any other.
    "an SVG drawing": rb"\s*+(<\?xml[^>]*+>\s*+)?(<!--.{0,1000}?-->\s*+)?(<!DOCTYPE svg[^>]*+>\s*+)?<svg[\s>]",
    "a video": rb"....ftyp|....moov|\x1aE\xdf\xa3",
}


def identify(content: bytes) -> str:
    """Return Pillow's name for the format of a file, detected from its content, never from its name.

    Raises:
        UnsupportedImageError: When it is not of a format that is read; the message names the format if it is known.
    """
    head = content[:HEAD_BYTES]
    for name, signature in SIGNATURES.items():
        if re.match(signature, head, re.DOTALL):
            if name == "HEIF" and not reads_heif():
                raise UnsupportedImageError(
                    f"is a HEIC image; send {accepted()}, or first run {install_command('heif')}"
                )
            return name
    for description, signature in OTHERS.items():
        if re.match(signature, head, re.DOTALL):
            raise UnsupportedImageError(f"is {description}; send {accepted()}")
    raise UnsupportedImageError(f"is not an image, expected {accepted()}")


def reads_heif() -> bool:
    """Return whether the package that decodes HEIC is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def readable_formats() -> list[ImageFormat]:
    """Return the formats that this installation reads."""
    return [each for name, each in FORMATS.items() if name != "HEIF" or reads_heif()]


def accepted() -> str:
    """Return the names of the formats that this installation reads, as in "PNG, JPEG or WebP"."""
    *others, last = (each.label for each in readable_formats())
    return f"{', '.join(others)} or {last}"
