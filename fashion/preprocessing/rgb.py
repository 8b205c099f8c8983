"""Images in 8 bits a channel, converted by strips: whole copies of large ones need memory that a server lacks."""

import numpy as np
from PIL import Image

STRIP_ROWS = 64

Box = tuple[int, int, int, int]  # left, top, right, bottom


def crop(image: Image.Image, box: Box) -> Image.Image:
    """Crop an image to 8 bits a channel."""
    left, top, right, bottom = box
    rgb = Image.new("RGB", (right - left, bottom - top))
    for row in range(top, bottom, STRIP_ROWS):
        rgb.paste(_strip(image, (left, row, right, min(row + STRIP_ROWS, bottom))), (0, row - top))
    return rgb


def reduced(image: Image.Image, side: int) -> Image.Image:
    """Return the whole image, shrunk until its longer side has at most this many pixels."""
    width, height = image.size
    factor = max(1, max(width, height) // side)
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = STRIP_ROWS * factor
    for row in range(0, height, rows):
        strip = _strip(image, (0, row, width, min(row + rows, height)))
        small.paste(strip.reduce(factor), (0, row // factor))
    small.thumbnail((side, side), Image.Resampling.BOX)
    return small


def _strip(image: Image.Image, box: Box) -> Image.Image:
    strip = image.crop(box)
    if strip.mode.startswith("I"):  # 16 bits a pixel
        strip = Image.fromarray((np.asarray(strip) >> 8).clip(0, 255).astype(np.uint8))
    return strip.convert("RGB")
