"""How a photo must be turned to be upright: the one thing that is read from the metadata of an image file."""

import re
import struct

from PIL import Image

UPRIGHT, FIRST_QUARTER_TURN = 1, 5  # from 5 on, width and height change places
TURNS = {  # EXIF 2.32, tag Orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TAG = 0x0112
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
INTEGERS = {1: "B", 3: "H", 4: "I"}  # types of EXIF values; the standard says 3, some writers use another
ENTRY_BYTES = 12
PREFIX = b"Exif\0\0"
XMP_PATTERN = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image as it is to be seen; the image itself if that is how it is stored."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def read_orientation(exif: bytes, xmp: bytes) -> int:
    """Return the orientation in metadata, EXIF before XMP; upright if neither says one that can be read.

    Nothing else in the metadata is looked at, so that nothing else in it can be wrong.

    Args:
        exif: A TIFF structure, perhaps after EXIF's own prefix; empty if there is none.
        xmp: An XML document; empty if there is none.
    """
    try:
        found = _exif_orientation(exif)
    except (KeyError, struct.error):
        found = None
    if found is None and (match := XMP_PATTERN.search(xmp)):
        found = int(match[1])
    return found if found in TURNS else UPRIGHT


def _exif_orientation(exif: bytes) -> int | None:
    start = 0
    while exif.startswith(PREFIX, start):  # nothing is copied for each: there may be a million
        start += len(PREFIX)
    exif = exif[start:]
    order = BYTE_ORDERS[exif[:4]]
    (first,) = struct.unpack_from(f"{order}I", exif, 4)
    (entries,) = struct.unpack_from(f"{order}H", exif, first)
    for start in range(first + 2, first + 2 + ENTRY_BYTES * entries, ENTRY_BYTES):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", exif, start)
        if tag == TAG:
            (value,) = struct.unpack_from(order + INTEGERS[kind], exif, start + 8)
            return int(value)
    return None
