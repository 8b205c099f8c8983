"""Grey pixels from colours: those of a grey image in any mode, and of one that a plotting library coloured."""

from typing import NamedTuple

import cv2
import numpy as np

from fashion.arrays import GrayImage, RgbImage

GREY_SPREAD = 3  # levels between the channels of a grey pixel: lossy formats store colours inexactly
# Levels, root mean square per channel, between the pixels and the colours of a map.
EXACT, INTERPOLATED = 1.0, 6.0
MAX_COLOURS = 28 * 28  # more are no small image's
# The perceptually uniform ones of matplotlib; OpenCV's differ from them by at most 1. Their reverses have the same
# colours, so these images become dark on light.
COLOUR_MAPS = {
    "viridis": cv2.COLORMAP_VIRIDIS,
    "plasma": cv2.COLORMAP_PLASMA,
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "cividis": cv2.COLORMAP_CIVIDIS,
}


class Grey(NamedTuple):
    """Grey pixels, and the name of the colour map that had been applied to them, if any."""

    pixels: GrayImage
    colour_map: str | None = None


def grey(pixels: RgbImage, max_distance: float = EXACT) -> Grey | None:
    """Return the grey levels of an image; None if it has colours that are not from one of the maps.

    Args:
        pixels: 0-255.
        max_distance: From the colours of a map, as a root mean square over pixels and channels, in levels.
    """
    red, green, blue = cv2.split(pixels)
    if max(cv2.absdiff(red, green).max(), cv2.absdiff(blue, green).max()) <= GREY_SPREAD:
        return Grey(pixels[..., 1])
    packed, places = np.unique(pixels.astype(np.int32) @ (1 << 16, 1 << 8, 1), return_inverse=True)
    if len(packed) > MAX_COLOURS:
        return None
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
    found = []
    for name, number in COLOUR_MAPS.items():
        colour_map = cv2.applyColorMap(np.arange(256, dtype=np.uint8), number)[:, 0, ::-1].astype(np.int32)
        distances = ((colours[:, np.newaxis] - colour_map) ** 2).mean(axis=2)
        levels = distances.argmin(axis=1).astype(np.uint8)
        found.append((distances.min(axis=1)[places].mean(), Grey(levels[places], name)))
    distance, nearest = min(found, key=lambda each: each[0])
    return nearest if distance <= max_distance**2 else None
