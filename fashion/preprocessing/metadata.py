"""PNG and JPEG files without their metadata, so that their decoders parse nothing but pixel data.

Colour profiles, text, thumbnails, and the videos that phones append are skipped without being unpacked. What says how a
photo must be turned is returned beside the pixels.
"""

import re
import zlib
from typing import NamedTuple

from fashion.errors import InvalidImageError

PNG_SIGNATURE, PNG_CHUNK_FRAME = b"\x89PNG\r\n\x1a\n", 12  # length, type and checksum, four bytes each
PNG_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
PNG_TEXT_CHUNKS = {b"tEXt", b"zTXt", b"iTXt"}
EXIF_KEYWORD, XMP_KEYWORD = b"Raw profile type exif", b"XML:com.adobe.xmp"
MAX_TEXT_BYTES = 2**20  # unpacked: an orientation is in the first kilobytes
MAX_PNG_CHUNKS = 100_000  # in chunks of 8 KiB, as libpng writes them, a file of 800 MB

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# Within a scan, a zero follows every 255 that is no marker. Several 255 may come before a marker. Markers without a
# length are left out: D0 to D7 separate parts of a scan, and 01 means nothing.
JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
JPEG_START_OR_END = {JPEG_START[1], JPEG_END[1]}  # a second start without an end before it begins another image
MAX_JPEG_SEGMENTS = 10_000  # a colour profile takes up to 255, a scan up to 9
JPEG_SCAN, JPEG_EXIF_OR_XMP = 0xDA, 0xE1
# APP1 to APP13, APP15 and comments. APP0 and APP14 say how colours are stored.
JPEG_METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}
JPEG_EXIF_PREFIX, JPEG_XMP_PREFIX = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


class SeparatedFile(NamedTuple):
    """An image file, taken apart.

    Attributes:
        pixels: A file of the same format that decodes to the same pixels, and has no metadata.
        exif: The EXIF block; empty if there is none.
        xmp: The XMP document; empty if there is none.
        scans: How often a JPEG passes over its pixels.
        frames: Images that the file says it shows one after another.
        has_end: False for a JPEG without an end marker; one was added to ``pixels``.
    """

    pixels: bytes
    exif: bytes = b""
    xmp: bytes = b""
    scans: int = 1
    frames: int = 1
    has_end: bool = True


def separate_png(content: bytes) -> SeparatedFile:
    """Take a PNG apart.

    Of several texts with the same keyword the last one counts, and only that is unpacked.

    Raises:
        InvalidImageError: When the checksum of a chunk that matters to the pixels is wrong, as decoders verify only
            some, or when it has far more chunks than any PNG needs.
    """
    view = memoryview(content)
    kept: list[bytes | memoryview] = [PNG_SIGNATURE]
    exif = b""
    raw_profile = xmp = (b"tEXt", b"")  # the kind and the content of a chunk
    frames, start, chunks = 1, len(PNG_SIGNATURE), 0
    while start + PNG_CHUNK_FRAME <= len(content):
        chunks += 1
        if chunks > MAX_PNG_CHUNKS:
            raise InvalidImageError(f"is damaged: it has more than {MAX_PNG_CHUNKS:,} chunks")
        end = start + 8 + int.from_bytes(view[start : start + 4])
        kind, body = bytes(view[start + 4 : start + 8]), view[start + 8 : end]
        intact = zlib.crc32(view[start + 4 : end]) == int.from_bytes(view[end : end + 4])
        if kind in PNG_PIXEL_CHUNKS:
            if not intact:
                raise InvalidImageError(f"is damaged: the checksum of its chunk {kind.decode()} is wrong")
            kept.append(view[start : end + 4])
        elif not intact:
            pass
        elif kind == b"acTL":
            frames = int.from_bytes(body[:4])
        elif kind == b"eXIf":
            exif = bytes(body)
        elif kind in PNG_TEXT_CHUNKS and body[: len(EXIF_KEYWORD)] == EXIF_KEYWORD:
            raw_profile = kind, bytes(body)
        elif kind in PNG_TEXT_CHUNKS and body[: len(XMP_KEYWORD)] == XMP_KEYWORD:
            xmp = kind, bytes(body)
        if kind == b"IEND":
            break
        start = end + 4
    return SeparatedFile(b"".join(kept), exif or _unhexed(_text(*raw_profile)), _text(*xmp), frames=frames)


def _text(kind: bytes, chunk: bytes) -> bytes:
    """Return the text in a PNG chunk, unpacked up to a limit; empty if it is damaged."""
    _, _, text = chunk.partition(b"\0")
    is_packed = kind == b"zTXt"
    if kind == b"iTXt":
        is_packed = text[:1] == b"\1"
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]  # after the language and the translated keyword
    elif is_packed:
        text = text[1:]
    if not is_packed:
        return text
    try:
        return zlib.decompressobj().decompress(text, MAX_TEXT_BYTES)
    except zlib.error:
        return b""


def _unhexed(profile: bytes) -> bytes:
    """Return what ImageMagick wrote as lines: an empty one, the name, the length, then hexadecimal digits."""
    try:
        digits = b"".join(profile.split(b"\n", 3)[3:])
        return bytes.fromhex(digits.replace(b"\n", b"").decode("ascii"))
    except ValueError:
        return b""


def separate_jpeg(content: bytes) -> SeparatedFile:
    """Take a JPEG apart, up to the end of its first image: phones append a second one, or a video.

    Raises:
        InvalidImageError: When it has far more segments than any JPEG needs.
    """
    kept: list[bytes] = [JPEG_START]
    exif = xmp = b""
    segments = scans = 0
    position, code = len(JPEG_START), 0
    while marker := JPEG_MARKER.search(content, position):
        if scans:
            kept.append(content[position : marker.start()])
        begin = marker.end()
        position, code = begin, content[begin - 1]
        if code in JPEG_START_OR_END:
            break
        position += int.from_bytes(content[begin : begin + 2])
        segments += 1
        if segments > MAX_JPEG_SEGMENTS:
            raise InvalidImageError(f"is damaged: it has more than {MAX_JPEG_SEGMENTS:,} segments")
        if code not in JPEG_METADATA:
            kept.append(content[marker.start() : position])
            scans += code == JPEG_SCAN
        elif code == JPEG_EXIF_OR_XMP:
            body = content[begin + 2 : position]
            if body.startswith(JPEG_EXIF_PREFIX):
                exif = exif or body
            elif body.startswith(JPEG_XMP_PREFIX):
                xmp = xmp or body
    else:
        kept.append(content[position:])
    kept.append(JPEG_END)
    return SeparatedFile(b"".join(kept), exif, xmp, scans=scans, has_end=code == JPEG_END[1])
