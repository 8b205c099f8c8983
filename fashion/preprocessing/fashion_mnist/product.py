"""Product images on a plain background, processed as the data set was made (Xiao et al., 2017, section 2)."""

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image, ImageFilter, ImageOps

from fashion.preprocessing import rgb
from fashion.preprocessing.fashion_mnist.spec import INPUT_SIDE
from fashion.preprocessing.model_input import ModelInput

# "Trimming any edges that are close to the color of the corner pixels": within 5 % of the largest distance in RGB.
TRIM_DISTANCE = 0.05 * 255 * np.sqrt(3)
# Share of the border's pixels: at least 91 % in renderings of the test images on near-white, and in 6 of 341 photos.
PLAIN_SHARE = 0.9
BORDER_SHARE = 0.02
# The product thumbnails that the data set was made from are 73 pixels high; photos have far more, and keeping one
# pixel in many of theirs would keep noise.
THUMBNAIL_SIDE = 73
LIGHT = 128
DARK_BACKGROUND, LIGHT_BACKGROUND = 40, 200


def is_product_image(small: Image.Image) -> bool:
    """Return whether an image shows a product as shops do: darker than near-white, or lighter than near-black.

    Nearly all of its border then has the colour of its corners. Any other background would stay grey around the object,
    and white clothes on light grey would vanish in it.

    Args:
        small: The image, reduced so far that single pixels carry no noise.
    """
    corner = _corner_colour(small)
    if DARK_BACKGROUND < _brightness(corner) < LIGHT_BACKGROUND:
        return False
    pixels = np.asarray(small)
    thickness = max(1, round(BORDER_SHARE * min(small.size)))
    border = np.ones(pixels.shape[:2], bool)
    border[thickness:-thickness, thickness:-thickness] = False
    return bool(np.mean(~_differs(pixels[border], corner)) >= PLAIN_SHARE) and _contrasts(small, corner)


def _contrasts(small: Image.Image, corner: tuple[int, int, int]) -> bool:
    """Return whether most of the object is darker than a light background, or lighter than a dark one."""
    differs = _differs(np.asarray(small), corner)
    if not differs.any():
        return True
    background, object_ = _brightness(corner), np.median(np.asarray(small.convert("L"))[differs])
    return bool(object_ < background) == (background >= LIGHT)


def prepare_product(image: Image.Image) -> ModelInput:
    """Apply the data set's pipeline, and set the background to black, as it is in the data set.

    A background of 240 instead of 255 leaves 15 all around the product, which the models never saw: it costs the one
    that comes with the project 9 points of accuracy (``scripts/benchmark.py renderings`` measures both ways).

    Args:
        image: A loaded image in any mode, upright, with a plain background.
    """
    prepared = fashion_mnist_pipeline(image)
    brightness = _brightness(_corner_colour(image))
    remaining = min(brightness, 255 - brightness)  # of the background, once a light one was negated
    if not remaining:
        return prepared
    pixels = np.round((prepared.pixels.astype(np.float32) - remaining) * (255 / (255 - remaining))).clip(0, 255)
    return prepared._replace(
        pixels=pixels.astype(np.uint8), steps=(*prepared.steps, f"background of {brightness} set to black")
    )


def fashion_mnist_pipeline(image: Image.Image) -> ModelInput:
    """Trim, shrink, subsample, sharpen, centre, convert to grey, and negate if the background is light.

    Args:
        image: A loaded image in any mode, upright.
    """
    corner = _corner_colour(image)
    box = _trimmed_box(image, corner)
    small = _subsample(rgb.crop(image, box))
    sharp = small.filter(ImageFilter.UnsharpMask(radius=1, percent=100, threshold=0))
    square = Image.new("RGB", (INPUT_SIDE, INPUT_SIDE), corner)
    square.paste(sharp, ((INPUT_SIDE - sharp.width) // 2, (INPUT_SIDE - sharp.height) // 2))
    grey = square.convert("L")
    steps = [
        f"trimmed from {image.width} x {image.height} to {box[2] - box[0]} x {box[3] - box[1]}",
        f"resized to {small.width} x {small.height}, sharpened, centred",
    ]
    if _brightness(corner) >= LIGHT:
        grey = ImageOps.invert(grey)
        steps.append("negated: its background is light")
    return ModelInput(np.asarray(grey)[..., np.newaxis], tuple(steps))


def _brightness(colour: tuple[int, int, int]) -> int:
    return int(np.asarray(Image.new("RGB", (1, 1), colour).convert("L"))[0, 0])


def _corner_colour(image: Image.Image) -> tuple[int, int, int]:
    """Return the median of the four corner pixels, so that one odd corner does not decide."""
    width, height = image.size
    boxes = [(x, y, x + 1, y + 1) for x in (0, width - 1) for y in (0, height - 1)]
    corners = [np.asarray(rgb.crop(image, box))[0, 0] for box in boxes]
    red, green, blue = np.median(corners, axis=0).astype(int)
    return int(red), int(green), int(blue)


def _differs(pixels: Shaped[np.ndarray, " *shape 3"], corner: tuple[int, int, int]) -> Bool[np.ndarray, " *shape"]:
    """Return which pixels are not close to the corner colour."""
    return np.linalg.norm(pixels.astype(np.float32) - np.array(corner, np.float32), axis=-1) > TRIM_DISTANCE


def _trimmed_box(image: Image.Image, corner: tuple[int, int, int]) -> rgb.Box:
    """Exclude edges whose pixels are all close to the corner colour; an image of one colour stays whole."""
    width, height = image.size
    row_differs, column_differs = np.zeros(height, bool), np.zeros(width, bool)
    for top in range(0, height, rgb.STRIP_ROWS):
        bottom = min(top + rgb.STRIP_ROWS, height)
        differs = _differs(np.asarray(rgb.crop(image, (0, top, width, bottom))), corner)
        row_differs[top:bottom] = differs.any(axis=1)
        column_differs |= differs.any(axis=0)
    rows, columns = np.flatnonzero(row_differs), np.flatnonzero(column_differs)
    if not len(rows):
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _subsample(thumbnail: Image.Image) -> Image.Image:
    """Shrink the longest edge to 28 by keeping single pixels of a thumbnail, as for the data set; changes its image."""
    thumbnail.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    scale = INPUT_SIDE / max(thumbnail.size)
    width, height = (max(1, round(side * scale)) for side in thumbnail.size)
    return thumbnail.resize((width, height), Image.Resampling.NEAREST)
