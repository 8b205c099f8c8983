"""What drives a prediction, drawn onto the model's pixels or onto the photo itself."""

import numpy as np
from PIL import Image

from fashion import palette
from fashion.arrays import HeatMap, ImagePixels, PhotoHeatMap, RgbImage
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.resize import on_photo

# Cells of the map along a side: as fine as the positions of the square that occludes a large image, whose corners would
# show in a finer map.
CELLS = 7
FULL_COLOUR_FROM, DIMMED_UNTIL = 0.6, 0.2  # strength, of the strongest part
OUTLINE_AT = 0.5
OUTLINE_WIDTH = 3.0  # pixels
DIMMED_BRIGHTNESS, DIMMED_SATURATION = 0.4, 0.4
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the centre", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


def highlight(pixels: ImagePixels, sensitivity: HeatMap) -> RgbImage:
    """Colour the pixels that support the prediction, for images of a few pixels in grey.

    Args:
        pixels: ``(h, w, c)`` uint8, 0-255.
        sensitivity: ``(h, w)`` float32 in [0, 1].
    """
    weight = sensitivity[..., np.newaxis] ** 2  # emphasises the strongest
    dimmed = np.broadcast_to(pixels * 0.6, (*pixels.shape[:2], 3))
    coloured = np.array(palette.rgb(palette.HIGHLIGHT)) * (0.45 + 0.55 * pixels.mean(axis=2, keepdims=True) / 255)
    mixed: np.ndarray = dimmed * (1 - weight) + coloured * weight
    return mixed.astype(np.uint8)


def photo_sensitivity(sensitivity: HeatMap, size: tuple[int, int], spec: InputSpec) -> PhotoHeatMap:
    """Return the sensitivity of a model's input as a smooth map of the photo that it was made from.

    Args:
        sensitivity: Of the input's pixels.
        size: Width and height of the photo.
        spec: How the input was made from the photo.

    Returns:
        ``(height, width)`` relative to the strongest part; 0 where the model saw nothing of the photo.
    """
    coarse = np.asarray(Image.fromarray(sensitivity).resize((CELLS, CELLS), Image.Resampling.BOX))
    smooth = on_photo(coarse, size, spec)
    relative: np.ndarray = np.clip(smooth / max(float(smooth.max()), np.finfo(np.float32).tiny), 0, 1)
    return relative


def spotlight(photo: RgbImage, strength: HeatMap) -> RgbImage:
    """Keep the colours of the parts that support the prediction, outline them, and dim the rest of the photo.

    Args:
        photo: ``(h, w, 3)`` uint8, 0-255.
        strength: ``(h, w)`` float32 in [0, 1].
    """
    pixels = photo.astype(np.float32)
    grey = (pixels @ np.array(LUMA, np.float32))[..., np.newaxis]
    dimmed = DIMMED_BRIGHTNESS * (grey + DIMMED_SATURATION * (pixels - grey))
    share = np.clip((strength - DIMMED_UNTIL) / (FULL_COLOUR_FROM - DIMMED_UNTIL), 0, 1)[..., np.newaxis]
    lit = dimmed + share * (pixels - dimmed)
    outline = _outline(strength)[..., np.newaxis]
    drawn: np.ndarray = lit + outline * (np.array(palette.rgb(palette.HIGHLIGHT), np.float32) - lit)
    return drawn.round().astype(np.uint8)


def strongest_place(strength: HeatMap) -> str | None:
    """Return in words where the strongest part of a map is; None if it has none."""
    if not strength.any():
        return None
    row, column = np.unravel_index(strength.argmax(), strength.shape)
    height, width = strength.shape
    return PLACES[3 * int(row) // height][3 * int(column) // width]


def _outline(strength: HeatMap) -> HeatMap:
    """Return the opacity of a smooth line where the strength passes ``OUTLINE_AT``."""
    if min(strength.shape) < 2:  # too narrow for a slope
        return np.zeros_like(strength)
    slope = np.hypot(*np.gradient(strength))
    distance = np.abs(strength - OUTLINE_AT) / np.maximum(slope, np.finfo(np.float32).tiny)  # in pixels
    opacity: np.ndarray = np.clip(OUTLINE_WIDTH / 2 + 0.5 - distance, 0, 1).astype(np.float32)
    return opacity
