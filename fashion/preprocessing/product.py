"""Pictures of products on an even ground, as the data set was made from them (Xiao et al., 2017, section 2)."""

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from fashion.preprocessing import rgb
from fashion.preprocessing.model_input import SIDE, ModelInput

# "Trimming any edges that are close to the color of the corner pixels": within 5 % of the largest distance in RGB.
TRIM_DISTANCE = 0.05 * 255 * np.sqrt(3)
# Of the border's pixels: renderings of the test images on near-white have 91 % and more, of 341 photos six have.
PLAIN_SHARE = 0.9
BORDER_SHARE = 0.02
# The product thumbnails that the data set was made from are 73 pixels high; photos have far more, and keeping one
# pixel in many of theirs would keep noise.
THUMBNAIL_SIDE = 73
LIGHT = 128
DARK_GROUND, LIGHT_GROUND = 40, 200


def shows_product(small: Image.Image) -> bool:
    """Return whether a picture shows a product as shops do: on near white and darker, or on near black and lighter.

    Nearly all of its border has the colour of its corners then. Any other ground would stay grey around the object, and
    white clothes on light grey would vanish in it.

    Args:
        small: The picture, made so small that single pixels are no noise.
    """
    corner = _corner_colour(small)
    if DARK_GROUND < _brightness(corner) < LIGHT_GROUND:
        return False
    pixels = np.asarray(small)
    thickness = max(1, round(BORDER_SHARE * min(small.size)))
    border = np.ones(pixels.shape[:2], bool)
    border[thickness:-thickness, thickness:-thickness] = False
    return bool(np.mean(~_differs(pixels[border], corner)) >= PLAIN_SHARE) and _contrasts(small, corner)


def _contrasts(small: Image.Image, corner: tuple[int, int, int]) -> bool:
    """Return whether most of what differs from the ground is darker than a light one, or lighter than a dark one."""
    differs = _differs(np.asarray(small), corner)
    if not differs.any():
        return True
    ground, object_ = _brightness(corner), np.median(np.asarray(small.convert("L"))[differs])
    return bool(object_ < ground) == (ground >= LIGHT)


def prepare(picture: Image.Image) -> ModelInput:
    """Go the data set's seven steps, and make the ground black, as it is in the data set.

    A ground of 240 instead of 255 leaves 15 all around the product, which the models never saw: the one that comes with
    the project loses 9 points of accuracy by that (``scripts/benchmark.py renderings`` has both ways).

    Args:
        picture: A loaded picture in any mode, upright, on plain ground.
    """
    prepared = seven_steps(picture)
    brightness = _brightness(_corner_colour(picture))
    ground = min(brightness, 255 - brightness)  # what is left of it when a light one was negated
    if not ground:
        return prepared
    pixels = np.round((prepared.pixels.astype(np.float32) - ground) * (255 / (255 - ground))).clip(0, 255)
    return prepared._replace(
        pixels=pixels.astype(np.uint8), steps=(*prepared.steps, f"its ground of {brightness} made black")
    )


def seven_steps(picture: Image.Image) -> ModelInput:
    """Trim, shrink, keep single pixels, sharpen, centre, make grey, and negate what lies on light ground.

    Args:
        picture: A loaded picture in any mode, upright.
    """
    corner = _corner_colour(picture)
    box = _trimmed_box(picture, corner)
    small = _subsample(rgb.part_of(picture, box))
    sharp = small.filter(ImageFilter.UnsharpMask(radius=1, percent=100, threshold=0))
    square = Image.new("RGB", (SIDE, SIDE), corner)
    square.paste(sharp, ((SIDE - sharp.width) // 2, (SIDE - sharp.height) // 2))
    grey = square.convert("L")
    steps = [
        f"trimmed from {picture.width} x {picture.height} to {box[2] - box[0]} x {box[3] - box[1]}",
        f"resized to {small.width} x {small.height}, sharpened, centred",
    ]
    if _brightness(corner) >= LIGHT:
        grey = ImageOps.invert(grey)
        steps.append("negated: its background is light")
    return ModelInput(np.asarray(grey), tuple(steps))


def _brightness(colour: tuple[int, int, int]) -> int:
    return int(np.asarray(Image.new("RGB", (1, 1), colour).convert("L"))[0, 0])


def _corner_colour(picture: Image.Image) -> tuple[int, int, int]:
    """Return the median of the four corner pixels: one odd corner does not decide."""
    width, height = picture.size
    places = [(x, y, x + 1, y + 1) for x in (0, width - 1) for y in (0, height - 1)]
    corners = [np.asarray(rgb.part_of(picture, place))[0, 0] for place in places]
    red, green, blue = np.median(corners, axis=0).astype(int)
    return int(red), int(green), int(blue)


def _differs(pixels: np.ndarray, corner: tuple[int, int, int]) -> np.ndarray:
    """Return which of ``(..., 3)`` pixels are not close to the corner colour, ``(...)`` bool."""
    return np.linalg.norm(pixels.astype(np.float32) - np.array(corner, np.float32), axis=-1) > TRIM_DISTANCE


def _trimmed_box(picture: Image.Image, corner: tuple[int, int, int]) -> rgb.Box:
    """Leave out edges whose pixels are all close to the corner colour; a picture of one colour stays whole."""
    width, height = picture.size
    row_differs, column_differs = np.zeros(height, bool), np.zeros(width, bool)
    for top in range(0, height, rgb.STRIP_ROWS):
        bottom = min(top + rgb.STRIP_ROWS, height)
        differs = _differs(np.asarray(rgb.part_of(picture, (0, top, width, bottom))), corner)
        row_differs[top:bottom] = differs.any(axis=1)
        column_differs |= differs.any(axis=0)
    rows, columns = np.flatnonzero(row_differs), np.flatnonzero(column_differs)
    if not len(rows):
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _subsample(thumbnail: Image.Image) -> Image.Image:
    """Bring the longest edge to 28 by keeping single pixels of a thumbnail, as the data set did; made in place."""
    thumbnail.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    scale = SIDE / max(thumbnail.size)
    width, height = (max(1, round(side * scale)) for side in thumbnail.size)
    return thumbnail.resize((width, height), Image.Resampling.NEAREST)
