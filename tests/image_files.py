"""Image files made by hand: metadata that is unusual, damaged or large, around pixels that are fine."""

import struct
import zlib

import numpy as np
from hypothesis import strategies as st
from PIL import Image, ImageCms
from serving import png

from fashion.preprocessing.limits import set_decoder_limits

# Marked in one corner, so that it shows how it was turned.
IMAGE = Image.effect_noise((24, 32), 40).convert("RGB")
IMAGE.paste("red", (0, 0, 8, 8))
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION = 0x0112


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with a checksum that is right whatever it contains."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunks(content: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """Insert chunks into a PNG."""
    place = content.index(before) - 4
    return content[:place] + b"".join(chunks) + content[place:]


def with_segments(content: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Insert segments, by their marker, at the beginning of a JPEG."""
    added = b"".join(struct.pack(">BBH", 255, marker, len(body) + 2) + body for marker, body in segments)
    return content[:2] + added + content[2:]


def exif(orientation: int, kind: int = 3, order: str = "<") -> bytes:
    """An EXIF block whose only entry is the orientation."""
    value = struct.pack(order + {1: "Bxxx", 3: "Hxx", 4: "I"}[kind], orientation)
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return header + struct.pack(order + "HHHI", 1, ORIENTATION, kind, 1) + value + bytes(4)


def xmp(orientation: int) -> bytes:
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation


def raw_profile(block: bytes) -> bytes:
    """An EXIF block as ImageMagick writes it into the text of a PNG."""
    return b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())


def camera_exif(orientation: int | None = None) -> bytes:
    """What a camera writes: texts, rationals, and a directory of GPS data."""
    block = Image.Exif()
    if orientation:
        block[ORIENTATION] = orientation
    block[0x010F], block[0x011A] = "a camera", 72.5
    block.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    block.get_ifd(0x8825).update({1: "N", 2: (1.5, 2.25, 3.125), 6: 100.5})
    return block.tobytes()


EXIF = camera_exif()
PALETTE = png(IMAGE.quantize(20), transparency=bytes(range(20)))
GREY_16 = png(Image.fromarray(np.asarray(IMAGE.convert("L")).astype(np.uint16) << 8), transparency=0)


NUMBERS, NAN = [0, 1, 2**16, 2**31 - 1, 2**32 - 1], 0x7FC00000
BIG_ENDIAN = st.sampled_from(NUMBERS).map(struct.Struct(">I").pack)
EITHER_ENDIAN = st.tuples(st.sampled_from("<>"), st.sampled_from([*NUMBERS, NAN])).map(
    lambda pair: struct.pack(f"{pair[0]}I", pair[1])
)


@st.composite
def damaged(draw, block: bytes, times: int = 5, head: int = 120, numbers: st.SearchStrategy = EITHER_ENDIAN) -> bytes:
    """Change, cut out, insert or overwrite bytes up to so many times, mostly among the first of them."""
    content = bytearray(block)
    for _ in range(draw(st.integers(1, times))):
        if not content:
            break
        place = draw(st.integers(0, min(len(content) - 1, head)) | st.integers(0, len(content) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                content[place] = draw(st.integers(0, 255))
            case 1:
                del content[place : place + draw(st.integers(1, 40))]
            case 2:
                content[place:place] = draw(st.binary(max_size=12))
            case 3:
                content[place : place + 4] = draw(numbers)
    return bytes(content)


@st.composite
def images_with_damaged_metadata(draw) -> bytes:
    """Image files whose metadata, palette or transparency is damaged, and nothing else."""
    blocks = {"exif": draw(damaged(EXIF)), "icc_profile": draw(damaged(ICC)), "xmp": draw(damaged(xmp(6)))}
    prefixed = b"Exif\0\0" + blocks["exif"]
    match draw(st.sampled_from(["jpeg", "webp", "avif", "heic", "png", "png text", "palette", "grey", "chunks"])):
        case "jpeg":
            segments = [
                (0xE1, prefixed),
                (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + blocks["xmp"]),
                (0xE2, b"ICC_PROFILE\0" + draw(damaged(b"\1\1" + ICC))),
                (0xE2, b"MPF\0" + draw(damaged(EXIF))),
                (0xED, draw(damaged(b"Photoshop 3.0\x008BIM\4\4\0\0\0\0\0\4abcd"))),
                (0xFE, draw(st.binary(max_size=20))),
            ]
            return with_segments(JPEG, *draw(st.lists(st.sampled_from(segments), min_size=1, max_size=4)))
        case "avif" | "heic" as kind:
            content = AVIF if kind == "avif" else HEIC
            for block in (EXIF, xmp(6)):
                content = content.replace(block, draw(damaged(block))[: len(block)].ljust(len(block), b"\0"))
            return content
        case "webp":
            return png(IMAGE, "WEBP", method=0, **blocks)
        case "png":
            return png(IMAGE, **{**blocks, "exif": prefixed})
        case "png text":
            kind = draw(st.sampled_from([b"tEXt", b"zTXt", b"iTXt"]))
            key = draw(st.sampled_from([b"Raw profile type exif", b"XML:com.adobe.xmp", b"Comment"]))
            text = draw(st.sampled_from([raw_profile(blocks["exif"]), blocks["xmp"]]))
            head = {b"tEXt": b"\0", b"zTXt": b"\0\0", b"iTXt": b"\0\1\0\0\0"}[kind]
            body = key + head + (text if kind == b"tEXt" else zlib.compress(text))
            return with_chunks(PNG, chunk(kind, draw(st.just(body) | damaged(body))))
        case "palette":
            start = PALETTE.index(b"PLTE")
            palette = draw(damaged(PALETTE[start + 4 : start + 64]))
            alpha = draw(damaged(bytes(range(20))))
            pixels = PALETTE[PALETTE.index(b"IDAT") - 4 :]
            return PALETTE[: start - 4] + chunk(b"PLTE", palette) + chunk(b"tRNS", alpha) + pixels
        case "grey":
            start, pixels = GREY_16.index(b"tRNS"), GREY_16.index(b"IDAT") - 4
            return GREY_16[: start - 4] + chunk(b"tRNS", draw(damaged(b"\1\0"))) + GREY_16[pixels:]
        case _:
            names = [b"eXIf", b"iCCP", b"tRNS", b"acTL", b"fcTL", b"pHYs", b"cHRM", b"gAMA", b"sRGB", b"tIME", b"sBIT"]
            chunks = [chunk(draw(st.sampled_from(names)), draw(st.binary(max_size=30))) for _ in range(3)]
            return with_chunks(PNG, *chunks)


PNG, JPEG = png(IMAGE), png(IMAGE, "JPEG", quality=95)
# Their encoders take an orientation out of EXIF; this one is left.
set_decoder_limits()
AVIF, HEIC = (png(IMAGE, kind, quality=90, exif=EXIF, xmp=xmp(6)) for kind in ("AVIF", "HEIF"))
