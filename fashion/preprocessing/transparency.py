"""Transparent images, composited onto the background that contrasts with what they show."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

STRIP_ROWS = 64  # a whole RGBA copy of a large image needs memory that a server lacks
MIDDLE = 127.5  # between black and white


def flatten(image: Image.Image) -> Image.Image:
    """Return an opaque image: white behind dark content, black behind light content.

    A white garment would vanish on a white background, and a black one on a black background.

    Args:
        image: A loaded image in any mode. Transparency that is a single colour must have the range of its pixels.

    Returns:
        The image itself if nothing in it can be transparent, an RGB copy otherwise.
    """
    if not image.has_transparency_data:
        return image
    background = "black" if _visible_brightness(image) > MIDDLE else "white"
    opaque = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        opaque.paste(Image.alpha_composite(Image.new("RGBA", strip.size, background), strip).convert("RGB"), (0, top))
    return opaque


def _visible_brightness(image: Image.Image) -> float:
    """Return the mean brightness, 0-255, weighted by opacity; 0 if nothing is visible."""
    brightness = opacity = 0
    for _, strip in _strips(image):
        alpha = np.asarray(strip.getchannel("A")).astype(np.int64)
        brightness += int((np.asarray(strip.convert("L")) * alpha).sum())
        opacity += int(alpha.sum())
    return brightness / max(opacity, 1)


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield each strip's first row, and its RGBA pixels."""
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height)))
        if strip.mode == "I;16":  # Pillow loses its transparency in any conversion
            pixels = np.asarray(strip)
            alpha = np.where(pixels == strip.info["transparency"], 0, 255)
            strip = Image.fromarray(np.stack([pixels >> 8, alpha], axis=-1).astype(np.uint8))
        yield top, strip.convert("RGBA")
