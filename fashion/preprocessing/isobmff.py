"""AVIF and HEIC files are made of boxes (ISO/IEC 14496-12 and 23008-12): their items and sizes.

The size that such a file declares says little about the work of decoding it. libavif decodes up to 268 million pixels
for an image of 100 x 100, and every frame that there is, so the sizes in the compressed images are read before. libheif
compares these sizes itself, but decodes a tile again wherever it is used, and crops last, so tiles are counted before,
and the sizes without cropping matter.
"""

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

METADATA_ITEMS = {b"Exif", b"mime"}
MAX_EXTENTS = 10_000  # parts of items in one file; a photo of a phone has about 100
# Items, boxes or references in one table. The time of libavif grows with the square of the items: 40,000 take a second.
MAX_ENTRIES = 4_000
# pillow-heif copies colour profiles, metadata and the groups of images for each image that they belong to.
MAX_SHARED_BYTES, MAX_GROUP_BYTES = 64 * 2**20, 4096
SEQUENCE_HEADER, FRAME_OBUS = 1, {3, 6}  # types of the open bitstream units (OBU) in an AV1 image
MAX_OBUS = 10_000  # in one file
MAX_HEADER_BYTES = 128
TABLES = {b"grpl", b"iinf", b"iloc", b"iprp", b"iref"}
TILED_ITEMS = {b"grid", b"iovl", b"iden"}
MIN_TILE_PIXELS = 65_536  # libheif decodes an image of this size, however small the file says that it is


Size = tuple[int, int]  # width and height


class Item(NamedTuple):
    """One item of a file: an image, a tile of one, or metadata.

    Attributes:
        number: By which other boxes refer to it.
        kind: Its four-character code.
        kind_position: Where the file says them.
        parts: Its content.
    """

    number: int
    kind: bytes
    kind_position: int
    parts: list[bytes]


def brand(content: bytes) -> bytes:
    """Return the major brand of a file."""
    return content[8:12]


def without_metadata(content: bytes) -> bytes:
    """Return a file whose EXIF and XMP no decoder finds: their items have a kind that does not exist.

    Nor does libavif look for a video beside the photo, which may have any number of items.
    """
    changed = bytearray(content)
    brands_end = int.from_bytes(content[:4])
    changed[:brands_end] = changed[:brands_end].replace(b"avis", b"avif")
    for item in read_items(content):
        if item.kind in METADATA_ITEMS:
            changed[item.kind_position : item.kind_position + 4] = b"skip"
    return bytes(changed)


def av1_sizes(content: bytes) -> Iterator[Size]:
    """Yield the size of every AV1 frame in a file, as their decoder sees it.

    Raises:
        ValueError: When one cannot be found.
    """
    obus = iter(range(MAX_OBUS))
    for item in read_items(content):
        if item.kind == b"av01":
            yield from _frame_sizes(b"".join(item.parts), obus)


def declared_sizes(content: bytes) -> list[Size]:
    """Return the size that a file declares for each image in it, before any is cropped.

    Raises:
        ValueError: When too many images share too large properties.
    """
    inside = _described(content)
    return list(_sizes_by_item(content, *inside[b"iprp"]).values()) if b"iprp" in inside else []


def tile_pixels(content: bytes) -> int:
    """Return how many pixels of tiles are decoded for all images of a file that are made of tiles.

    Raises:
        ValueError: When tiles are made of tiles again, there are too many, or too many images share metadata.
    """
    items = {item.number: item for item in read_items(content)}
    kinds = {number: item.kind for number, item in items.items()}
    inside = _described(content)
    if b"iref" not in inside:
        return 0
    start, end = inside[b"iref"]
    width = 4 if content[start] else 2
    sizes = {number: math.prod(size) for number, size in _sizes_by_item(content, *inside[b"iprp"]).items()}
    total = references = shared = 0
    for kind, first, last in _boxes(content, start + 4, end):
        places = range(first + width + 2, last, width)
        references += len(places)
        if references > MAX_ENTRIES:
            raise ValueError("its images refer to too many others")
        origin = int.from_bytes(content[first : first + width])
        if kind == b"cdsc" and origin in items:
            shared += len(places) * sum(map(len, items[origin].parts))
            if shared > MAX_SHARED_BYTES:
                raise ValueError("its images share too much metadata")
        if kind != b"dimg" or kinds.get(origin) not in TILED_ITEMS:
            continue
        numbers = [int.from_bytes(content[at : at + width]) for at in places]
        if any(kinds.get(number) in TILED_ITEMS for number in numbers):
            raise ValueError("it has nested tiles")
        total += sum(max(sizes.get(number, 0), MIN_TILE_PIXELS) for number in numbers)
    return total


def _described(content: bytes) -> dict[bytes, tuple[int, int]]:
    """Return where the boxes are that describe the items of a file, by kind."""
    (meta,) = [(start, end) for kind, start, end in _boxes(content, 0, len(content)) if kind == b"meta"]
    inside: dict[bytes, tuple[int, int]] = {}
    for kind, start, end in _boxes(content, meta[0] + 4, meta[1]):
        if kind in inside and kind in TABLES:  # decoders would read the one that is not checked
            raise ValueError(f"it has two tables of the kind {kind.decode()}")
        if kind == b"grpl" and end - start > MAX_GROUP_BYTES:
            raise ValueError("its images are in too many groups")
        inside[kind] = start, end
    return inside


def _sizes_by_item(content: bytes, start: int, end: int) -> dict[int, Size]:
    """Return the size of each item by its number, from the box ``iprp``."""
    properties: list[tuple[int, Size | None]] = [(0, None)]  # bytes, and the size that it says; counted from 1
    found: dict[int, Size] = {}
    total = shared = 0
    for kind, first, last in _boxes(content, start, end):
        if kind == b"ipco":
            for name, at, behind in _boxes(content, first, last):
                size = struct.unpack_from(">II", content, at + 4) if name == b"ispe" else None
                properties.append((behind - at, size))
        elif kind == b"ipma":
            number_bytes, index_bytes = 4 if content[first] else 2, 2 if content[first + 3] & 1 else 1
            at, entries = first + 8, int.from_bytes(content[first + 4 : first + 8])
            total += entries
            if total > MAX_ENTRIES:
                raise ValueError("it has too many images")
            for _ in range(entries):
                if at >= last:
                    raise ValueError("its table of properties (ipma) is truncated")
                number, count = int.from_bytes(content[at : at + number_bytes]), content[at + number_bytes]
                at += number_bytes + 1
                for _ in range(count):
                    index = int.from_bytes(content[at : at + index_bytes]) & (1 << 8 * index_bytes - 1) - 1
                    at += index_bytes
                    length, size = properties[index]
                    if size is not None:
                        found[number] = size
                    shared += length
                    if shared > MAX_SHARED_BYTES:
                        raise ValueError("its images share too large properties")
    return found


def read_items(content: bytes) -> list[Item]:
    """Return the items of a file.

    Raises:
        ValueError, struct.error: When the boxes that describe them are damaged, or far more than any photo has.
    """
    inside = _described(content)
    if not {b"iinf", b"iloc"} <= inside.keys():
        raise ValueError("its item tables (iinf, iloc) are missing")
    parts = _read_locations(content, *inside[b"iloc"], data_start=inside.get(b"idat", (0, 0))[0])
    start, end = inside[b"iinf"]
    found: dict[int, Item] = {}
    for kind, first, _ in _boxes(content, start + (6 if content[start] == 0 else 8), end):
        if kind == b"infe":
            wide = content[first] >= 3
            number = int.from_bytes(content[first + 4 : first + (8 if wide else 6)])
            position = first + (10 if wide else 8)  # after two bytes about encryption
            if number in found:
                raise ValueError("two of its items have the same number")
            found[number] = Item(number, content[position : position + 4], position, parts.get(number, []))
    return list(found.values())


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, the start and the end of each box in a part of a file."""
    count = 0
    while start + 8 <= end:
        count += 1
        if count > MAX_ENTRIES:
            raise ValueError("it has too many boxes")
        size, kind = struct.unpack_from(">I4s", content, start)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, start + 8)
            header = 16
        elif size == 0:
            size = end - start
        if not header <= size <= end - start:
            raise ValueError("one of its boxes has a wrong size")
        yield kind, start + header, start + size
        start += size


def _read_locations(content: bytes, start: int, end: int, data_start: int) -> dict[int, list[bytes]]:
    """Return the content of each item by its number, from the box ``iloc``."""
    position = start

    def number(size: int) -> int:
        nonlocal position
        position += size
        if position > end:
            raise ValueError("its item table (iloc) is truncated")
        return int.from_bytes(content[position - size : position])

    version = number(4) >> 24
    sizes, more_sizes = number(1), number(1)
    parts: dict[int, list[bytes]] = {}
    extents = total = 0
    items = number(2 if version < 2 else 4)
    if items > MAX_ENTRIES:
        raise ValueError("it has too many items")
    for _ in range(items):
        item = number(2 if version < 2 else 4)
        in_data_box = version > 0 and number(2) & 15 == 1
        number(2)  # the file that has it: always this one
        base = number(more_sizes >> 4) + (data_start if in_data_box else 0)
        for _ in range(number(2)):
            number(more_sizes & 15 if version > 0 else 0)
            first, length = base + number(sizes >> 4), number(sizes & 15)
            part = content[first : first + length] if length else content[first:]
            extents, total = extents + 1, total + len(part)
            if extents > MAX_EXTENTS or total > len(content):
                raise ValueError("its images overlap")
            parts.setdefault(item, []).append(part)
    return parts


def _frame_sizes(image: bytes, obus: Iterator[int]) -> Iterator[Size]:
    """Yield the size of each frame of an AV1 image (AV1 Bitstream and Decoding Process Specification, section 5).

    Args:
        image: Its bytes.
        obus: As many values as units may still be read in all images of the file.
    """
    position, sequence_size = 0, None
    for _ in obus:
        if position >= len(image):
            break
        header = image[position]
        position += 2 if header & 4 else 1  # with an extension
        size = 0
        if header & 2:  # it says its size, in groups of seven bits
            for shift in range(0, 56, 7):
                byte = image[position]
                position += 1
                size |= (byte & 127) << shift
                if byte < 128:
                    break
        else:
            size = len(image) - position
        kind = header >> 3 & 15
        if kind == SEQUENCE_HEADER:
            sequence_size = _sequence_size(image[position : position + min(size, MAX_HEADER_BYTES)])
        elif kind in FRAME_OBUS and sequence_size is not None:
            yield sequence_size
        position += size
    else:
        raise ValueError("an image in it has too many parts")
    if sequence_size is None:
        raise ValueError("an image in it has no size")


def _sequence_size(header: bytes) -> Size:
    bits = int.from_bytes(header.ljust(MAX_HEADER_BYTES, b"\0"))
    left = 8 * MAX_HEADER_BYTES

    def number(count: int) -> int:
        nonlocal left
        left -= count
        return bits >> left & (1 << count) - 1

    number(4)  # profile, and whether it is a still image
    if number(1):  # a short header
        number(5)
    else:
        if number(1):
            raise ValueError("it is part of a video")  # it says times
        has_delays = number(1)
        for _ in range(number(5) + 1):
            number(12)
            if number(5) > 7:
                number(1)
            if has_delays and number(1):
                number(4)
    width_bits, height_bits = number(4) + 1, number(4) + 1
    return number(width_bits) + 1, number(height_bits) + 1
