"""AVIF and HEIC: decoded as the other formats are, within the same limits, and turned exactly once."""

import io
import struct

import numpy as np
import pytest
from image_files import AVIF, EXIF, HEIC, IMAGE, ORIENTATION, exif
from PIL import Image, ImageOps
from serving import png

from fashion.errors import InvalidImageError, UnsupportedImageError
from fashion.preprocessing import decode, formats, isobmff
from fashion.preprocessing.fashion_mnist import prepare

# The upper left corner is red, the upper right one white, and the rest dark.
MARKED = Image.new("RGB", (96, 160), "navy")
MARKED.paste("red", (0, 0, 40, 40))
MARKED.paste("white", (56, 0, 96, 40))
KINDS = ["AVIF", "HEIF"]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    decode.set_decoder_limits()  # registers HEIC, which the tests write as well
    return png(image, kind, **options)


def opened(content: bytes) -> Image.Image:
    return decode.decode(io.BytesIO(content))


def difference(image: Image.Image, expected: Image.Image) -> float:
    assert image.size == expected.size
    return np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(expected.convert("RGB"))).mean()


def declare(content: bytes, size: tuple[int, int], declared: tuple[int, int]) -> bytes:
    """Change the size that a file says an image in it has."""
    box = struct.pack(">4sIII", b"ispe", 0, *size)
    assert box in content
    return content.replace(box, struct.pack(">4sIII", b"ispe", 0, *declared))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_image_is_read(kind, mode):
    image = opened(encoded(MARKED.convert(mode), kind, quality=90))
    assert difference(image, MARKED.convert(mode)) < 4
    assert set(image.info) == {decode.ORIGINAL_SIZE}


@pytest.mark.parametrize("kind", KINDS)
def test_transparency_shows_a_background_that_contrasts(kind):
    white = np.full((96, 96, 4), 255, np.uint8)
    white[:, :48, 3] = 0
    pixels = np.asarray(opened(encoded(Image.fromarray(white), kind, quality=90)))
    assert pixels[:, :40].max() < 30
    assert pixels[:, 56:].min() > 225


def turned(orientation: int) -> Image.Image:
    image = MARKED.copy()
    image.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_boxes_turn_an_image_once_whatever_exif_says(kind, orientation):
    """Pillow makes boxes of an orientation in EXIF; pillow-heif writes both, as phones do; some programs only EXIF."""
    content = encoded(MARKED, kind, quality=90, exif=exif(orientation))
    assert difference(opened(content), turned(orientation)) < 4
    block = exif(8)[:-4]
    with_block = encoded(MARKED, kind, quality=90, exif=exif(8).replace(b"\x12\x01", b"\x13\x01"))
    assert with_block.count(block.replace(b"\x12\x01", b"\x13\x01")) == 1
    exif_alone = with_block.replace(block.replace(b"\x12\x01", b"\x13\x01"), block)
    assert difference(opened(exif_alone), MARKED) < 4  # the formats' standard says that boxes alone count


@pytest.mark.parametrize("content", [AVIF, HEIC], ids=KINDS)
def test_no_decoder_sees_metadata(content):
    assert content.count(EXIF) == 1
    kinds = [item.kind for item in isobmff.read_items(content)]
    assert b"Exif" in kinds
    image = decode.open_checked(content).image
    assert not image.info.get("exif")
    assert not image.info.get("xmp")


@pytest.mark.parametrize("kind", KINDS)
def test_the_limits_hold(kind):
    with pytest.raises(InvalidImageError, match=r"is 8200 x 200 pixels, expected at most 8,192 a side"):
        opened(encoded(Image.new("L", (8200, 200)), kind))
    with pytest.raises(InvalidImageError, match=r"is 2000 x 36 pixels, expected at most 50 times as long as wide"):
        opened(encoded(Image.new("L", (2000, 36)), kind))
    content = encoded(IMAGE, kind)
    for kept in (20, len(content) // 2, len(content) - 20):
        with pytest.raises(InvalidImageError, match="is damaged: "):
            opened(content[:kept])


def test_an_animation_is_refused():
    frames = [Image.new("L", (64, 64), 80 * number) for number in range(3)]
    for content in (
        encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:]),
        HEIC.replace(b"ftypheic", b"ftyphevc"),
    ):
        with pytest.raises(InvalidImageError, match="is an animation, expected a still image"):
            opened(content)


def test_the_second_image_of_a_heic_file_is_no_animation():
    content = encoded(MARKED, "HEIF", quality=90, save_all=True, append_images=[IMAGE])
    assert difference(opened(content), MARKED) < 4


def test_the_size_of_av1_is_read_from_the_headers_of_stills_and_of_animations():
    frames = [Image.new("L", (300, 64), 80 * number) for number in range(2)]
    assert list(isobmff.av1_sizes(encoded(frames[0], "AVIF"))) == [(300, 64)]
    assert list(isobmff.av1_sizes(encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:]))) == [(300, 64)]


def test_an_avif_cannot_hide_the_size_that_is_decoded():
    """libavif shrinks what it decoded to the declared size."""
    content = encoded(Image.new("L", (8200, 200)), "AVIF")
    assert list(isobmff.av1_sizes(content)) == [(8200, 200)]
    with pytest.raises(InvalidImageError, match="is 8200 x 200 pixels"):
        opened(declare(content, (8200, 200), (82, 20)))


def test_a_heic_cannot_hide_the_size_that_is_decoded():
    content = encoded(Image.new("L", (2000, 2000)), "HEIF")
    with pytest.raises(InvalidImageError, match=r"is damaged: .*Security limit exceeded"):
        opened(declare(content, (2000, 2000), (64, 64)))


def with_repeated_frame(content: bytes, count: int) -> bytes:
    """Add copies of its frame to the only item of an AVIF file."""
    ((data,),) = [item.parts for item in isobmff.read_items(content)]
    frame = data[4 + data[3] :]  # after an empty unit, and the header of the sequence
    data += (data[:2] + frame) * count
    position = content.index(b"iloc") + 4
    assert content[position : position + 6] == b"\0\0\0\0\x44\0"
    moved = bytearray(content)
    struct.pack_into(">II", moved, position + 14, len(content) + 8, len(data))
    return bytes(moved) + struct.pack(">I4s", len(data) + 8, b"mdat") + data


def test_every_frame_of_an_avif_counts_because_all_are_decoded():
    content = encoded(Image.new("L", (4000, 2000)), "AVIF", speed=10)
    assert opened(with_repeated_frame(content, 1)).size == (4000, 2000)
    with pytest.raises(InvalidImageError, match="has tiles of 168 million pixels, expected at most 100 million"):
        opened(with_repeated_frame(content, 20))
    with pytest.raises(InvalidImageError, match="is damaged: an image in it has too many parts"):
        opened(with_repeated_frame(encoded(Image.new("L", (64, 64)), "AVIF"), 10_000))


def test_every_image_in_a_heic_file_counts_because_what_is_shown_may_be_a_part_of_it():
    larger = encoded(MARKED, "HEIF", save_all=True, append_images=[Image.new("L", (1000, 1000))])
    assert decode.open_checked(larger).pixels == 1_000_000
    too_large = encoded(MARKED, "HEIF", save_all=True, append_images=[Image.new("L", (8200, 200))])
    with pytest.raises(InvalidImageError, match="is 8200 x 200 pixels, expected at most 8,192 a side"):
        opened(too_large)


def test_tiles_are_counted_as_often_as_they_are_used():
    content = encoded(MARKED.resize((1024, 1024)), "HEIF", tile_size=512)
    assert isobmff.tile_pixels(content) == 1024 * 1024
    assert opened(content).size == (1024, 1024)
    with pytest.raises(InvalidImageError, match="has tiles of 144 million pixels, expected at most 100 million"):
        opened(declare(content, (512, 512), (6000, 6000)))


def test_the_parts_of_a_file_do_not_overlap():
    """A small file of which every item is the whole would take memory without end."""
    position = AVIF.index(b"iloc") + 4
    assert AVIF[position + 4] == 0x44  # four bytes for each offset and length
    huge = AVIF[: position + 6] + struct.pack(">H", 60_000) + AVIF[position + 8 :]
    with pytest.raises(InvalidImageError, match="is damaged: "):
        opened(huge)


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def table(content: bytes, kind: bytes) -> bytes:
    """Return what is in the first box of a kind."""
    start = content.index(kind)
    return content[start + 4 : start - 4 + int.from_bytes(content[start - 4 : start])]


def with_table(kind: bytes, changed: bytes) -> bytes:
    """Return an HEIC file with another table, which describes its images no longer."""
    meta = table(HEIC, b"meta")
    return HEIC.replace(
        box(b"meta", meta), box(b"meta", meta.replace(box(kind, table(meta, kind)), box(kind, changed)))
    )


TOO_MANY = isobmff.MAX_ENTRIES + 1
ITEMS = [box(b"infe", struct.pack(">IIH4sx", 3 << 24, number, 0, b"av01")) for number in range(TOO_MANY)]
ITEM_TABLE = b"\1\0\0\0" + struct.pack(">I", TOO_MANY)
HALF = struct.pack(">I", TOO_MANY // 2 + 1) + b"\0\1\0" * (TOO_MANY // 2 + 1)
TABLES = {
    "items": (with_table(b"iinf", ITEM_TABLE + b"".join(ITEMS)), "it has too many boxes"),
    "an item twice": (with_table(b"iinf", ITEM_TABLE + ITEMS[1] * 2), "two of its items have the same number"),
    "locations": (
        with_table(b"iloc", b"\2\0\0\0\x44\0" + struct.pack(">I", TOO_MANY) + bytes(10 * TOO_MANY)),
        "it has too many items",
    ),
    "properties": (
        with_table(b"iprp", table(HEIC, b"iprp") + box(b"ipma", bytes(4), HALF) * 2),
        "it has too many images",
    ),
    "properties beyond their table": (
        with_table(b"iprp", table(HEIC, b"iprp") + box(b"ipma", bytes(4), HALF[:400])),
        r"its table of properties \(ipma\) is truncated",
    ),
    "references": (
        with_table(b"iref", bytes(4) + box(b"cdsc", struct.pack(">HH", 1, TOO_MANY) + bytes(2 * TOO_MANY))),
        "its images refer to too many others",
    ),
    "groups": (
        with_table(b"hdlr", bytes(isobmff.MAX_GROUP_BYTES + 1)).replace(b"hdlr", b"grpl"),
        "its images are in too many groups",
    ),
    "boxes": (HEIC + box(b"free") * TOO_MANY, "it has too many boxes"),
    "two tables": (HEIC.replace(b"iref", b"iprp"), "it has two tables of the kind iprp"),
}


@pytest.mark.parametrize(("content", "message"), TABLES.values(), ids=TABLES)
def test_tables_are_limited_before_a_decoder_reads_them(monkeypatch, content, message):
    """For a million items libavif takes more than ten minutes, and each was parsed as often as it is listed."""
    monkeypatch.setattr(decode.Image, "open", None)
    with pytest.raises(InvalidImageError, match=f"is damaged: {message}"):
        opened(content)


FIVE_REFERENCES = struct.pack(">HH", 2, 5) + bytes(10)
FIVE_PROPERTIES = struct.pack(">IHB", 1, 1, 5) + b"\1" * 5
SHARED = {
    "metadata": with_table(b"iref", bytes(4) + box(b"cdsc", FIVE_REFERENCES)),
    "properties": with_table(b"iprp", box(b"ipco", box(b"colr", bytes(202))) + box(b"ipma", bytes(4), FIVE_PROPERTIES)),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_images_share_counts_for_each_because_it_is_copied(monkeypatch, name):
    """A thousand images with one colour profile of five megabytes took five gigabytes."""
    monkeypatch.setattr(isobmff, "MAX_SHARED_BYTES", 1000)
    decode.open_checked(HEIC)
    with pytest.raises(InvalidImageError, match=f"is damaged: its images share too .*{name}"):
        opened(SHARED[name])


def test_the_parts_of_all_images_in_a_file_are_counted_together(monkeypatch):
    content = encoded(Image.new("RGBA", (64, 64)), "AVIF")  # transparency is an image of its own, of as many parts
    assert list(isobmff.av1_sizes(content)) == [(64, 64)] * 2
    monkeypatch.setattr(isobmff, "MAX_OBUS", 6)
    with pytest.raises(ValueError, match="an image in it has too many parts"):
        list(isobmff.av1_sizes(content))


def test_no_decoder_looks_for_a_video_beside_an_avif():
    """Nothing limits the tables of a video, and libavif reads them before it takes the photo."""
    content = AVIF.replace(b"ftypavif\0\0\0\0avif", b"ftypavif\0\0\0\0avis")
    assert content != AVIF
    assert np.array_equal(np.asarray(opened(content + box(b"moov", b"damaged"))), np.asarray(opened(AVIF)))


@pytest.mark.parametrize("content", [AVIF, HEIC], ids=KINDS)
def test_a_garment_is_prepared(content):
    assert prepare(opened(content)).pixels.shape == (28, 28, 1)


def without_heif(monkeypatch) -> None:
    find = formats.importlib.util.find_spec
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else find(name))


def test_without_the_extra_heic_is_refused_and_the_command_that_installs_it_named(monkeypatch):
    without_heif(monkeypatch)
    command = r"\.venv/bin/python scripts/setup_venv\.py --extra heif"
    with pytest.raises(
        UnsupportedImageError,
        match=f"send PNG, JPEG, WebP or AVIF, or first run {command}",
    ):
        opened(HEIC)
    assert opened(AVIF).size == IMAGE.size


def test_the_page_offers_the_formats_that_are_read(client, monkeypatch):
    assert 'accept="image/png,.png,image/jpeg,.jpg,.jpeg,' in client.get("/").text
    assert "image/heic,image/heif,.heic,.heif,.hif" in client.get("/").text
    without_heif(monkeypatch)
    assert "image/heic" not in client.get("/").text


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (encoded(IMAGE, "BMP"), "a BMP image"),
        (encoded(IMAGE, "ICO"), "an icon"),
        (encoded(IMAGE, "TIFF", big_tiff=True), "a TIFF image"),
        (encoded(IMAGE, "JPEG2000"), "a JPEG 2000 image"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL image"),
        (b"8BPS" + bytes(20), "a Photoshop document"),
        (b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "a video"),
        (b"\x1aE\xdf\xa3" + bytes(20), "a video"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_named(content, name):
    with pytest.raises(UnsupportedImageError, match=f"is {name}; send PNG, JPEG, WebP, AVIF or HEIC"):
        opened(content)
