"""Pictures in 8 bits a channel: by strips, for whole copies of large ones take memory that a server does not have."""

import numpy as np
from PIL import Image, ImageOps

STRIP_ROWS = 64

Box = tuple[int, int, int, int]  # left, top, right, bottom


def part_of(picture: Image.Image, box: Box) -> Image.Image:
    """Cut out a part in 8 bits a channel, transparent pixels laid on white."""
    left, top, right, bottom = box
    rgb = Image.new("RGB", (right - left, bottom - top))
    for row in range(top, bottom, STRIP_ROWS):
        rgb.paste(_strip(picture, (left, row, right, min(row + STRIP_ROWS, bottom))), (0, row - top))
    return rgb


def upright(picture: Image.Image) -> Image.Image:
    """Turn by the camera's note, bring to 8 bits a channel, and lay transparent parts on white."""
    turned = ImageOps.exif_transpose(picture)
    return part_of(turned, (0, 0, *turned.size))


def reduced(picture: Image.Image, side: int) -> Image.Image:
    """Return the whole picture, made smaller until its longer side has at most so many pixels."""
    width, height = picture.size
    factor = max(1, max(width, height) // side)
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = STRIP_ROWS * factor
    for row in range(0, height, rows):
        strip = _strip(picture, (0, row, width, min(row + rows, height)))
        small.paste(strip.reduce(factor), (0, row // factor))
    small.thumbnail((side, side), Image.Resampling.BOX)
    return small


def _strip(picture: Image.Image, box: Box) -> Image.Image:
    strip = picture.crop(box)
    if strip.mode.startswith("I"):  # 16 bits a pixel
        strip = Image.fromarray((np.asarray(strip) >> 8).clip(0, 255).astype(np.uint8))
    if "A" in strip.getbands() or "transparency" in strip.info:
        strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip.convert("RGBA"))
    return strip.convert("RGB")
