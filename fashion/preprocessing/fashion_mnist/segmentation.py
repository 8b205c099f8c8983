"""Segment the object in a photo: which pixels are the garment, and which the floor, the wall or the table.

Nothing is assumed about the object, only that it is near the middle and that the border is mostly background.
"""

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from fashion.arrays import GrayImage, HeatMap, Mask, RgbImage
from fashion.preprocessing import rgb
from fashion.preprocessing.fashion_mnist.spec import INPUT_SIDE
from fashion.preprocessing.model_input import ModelInput

MIN_SIDE = 16  # pixels; a smaller image has no border to speak of
DETAIL_SIDE = 320  # pixels of the photo that the 28 are computed from

WORKING_SIDE = 128  # pixels; 160 took twice as long, and gave no more right answers on half of 341 photos
BORDER_SHARE = 0.04
GRABCUT_ITERATIONS = 2  # four gave no more right answers either
CENTRE_WIDTH = 0.6  # of the sides
MIN_COMPONENT, MAX_HOLE = 0.2, 0.03  # of the largest component; of the object
SEED = 0
MIN_OBJECT = 0.01  # of the photo
# Pixels on the outline are mixed with the background: they are excluded.
EDGE_SMOOTHING, EDGE_LOW, EDGE_HIGH = 1.0, 0.3, 0.7
# Clothes are made as bright as the data set's are: this quantile of their pixels gets this brightness, 0-255.
BRIGHT_QUANTILE, BRIGHT, MAX_GAIN, MIN_BRIGHTNESS = 0.97, 230.0, 4.0, 40.0


def prepare_photo(image: Image.Image) -> ModelInput:
    """Segment the object of a photo, negate it as the data set is negated, and fit it into 28 x 28 pixels.

    Args:
        image: A loaded image in any mode, upright; ``DETAIL_SIDE`` pixels of it are enough.
    """
    pixels = np.asarray(rgb.reduced(image, DETAIL_SIDE))
    scale = WORKING_SIDE / max(pixels.shape)
    size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
    mask = find_object(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    steps = [f"segmented from the photo: {mask.mean():.0%} of its area"]
    weight = _soft_mask(mask, pixels.shape[:2])
    if mask.mean() < MIN_OBJECT or weight.max() <= 0.5:
        steps = ["no object found: the whole photo is used"]
        mask, weight = np.ones_like(mask), np.ones(pixels.shape[:2], np.float32)
    fitted, (width, height) = _fitted(_negated(pixels, weight))
    steps += ["negated and brightened", f"resized to {width} x {height}, centred"]
    return ModelInput(fitted[..., np.newaxis], tuple(steps), mask)


def _soft_mask(mask: Mask, shape: tuple[int, ...]) -> Float32[np.ndarray, "height width"]:
    """Return how much each pixel of a larger photo of this shape belongs to the object, in [0, 1]."""
    large = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    large = cv2.GaussianBlur(large, (0, 0), EDGE_SMOOTHING)
    return np.clip((large - EDGE_LOW) / (EDGE_HIGH - EDGE_LOW), 0, 1)


def _negated(pixels: RgbImage, weight: HeatMap) -> Float32[np.ndarray, "height width"]:
    """Return the object, dark parts bright, on 0: 0-255, cropped to it."""
    rows, columns = np.nonzero(weight.max(axis=1) > 0.5)[0], np.nonzero(weight.max(axis=0) > 0.5)[0]
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    dark = 255 - cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)[box]
    brightest = float(np.quantile(dark[weight[box] > 0.5], BRIGHT_QUANTILE))
    gain = min(BRIGHT / max(brightest, 1.0), MAX_GAIN)
    return np.clip(dark * gain, MIN_BRIGHTNESS, 255) * weight[box]


def _fitted(grey: Float32[np.ndarray, "height width"]) -> tuple[GrayImage, tuple[int, int]]:
    """Return the 28 x 28 pixels with the object centred and as large as possible, and its width and height."""
    scale = INPUT_SIDE / max(grey.shape)
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    square = np.zeros((INPUT_SIDE, INPUT_SIDE), np.float32)
    top, left = (INPUT_SIDE - height) // 2, (INPUT_SIDE - width) // 2
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    square[top : top + height, left : left + width] = small
    return np.round(square).astype(np.uint8), (width, height)


def find_object(pixels: RgbImage) -> Mask:
    """Return the mask of the object by GrabCut (Rother et al., 2004, ACM TOG 23:309).

    The border is certain background, everything else possible object. Better initial masks (unlike the border's
    colours, enclosed by edges) were tried on half of 341 photos, and gave no more right answers.

    Args:
        pixels: 0-255; the longer side is about ``WORKING_SIDE``.

    Returns:
        True on the object; all False if there is none.
    """
    guess = np.full(pixels.shape[:2], cv2.GC_PR_FGD, np.uint8)
    thickness = max(2, round(BORDER_SHARE * min(guess.shape)))
    guess[:thickness] = guess[-thickness:] = cv2.GC_BGD
    guess[:, :thickness] = guess[:, -thickness:] = cv2.GC_BGD
    return clean_mask(_grabcut(pixels, guess))


def clean_mask(mask: Mask) -> Mask:
    """Keep the components of a mask that are large and near the middle, and fill small holes in them.

    Thin structures, such as hangers and strings, are removed first.
    """
    count, components = cv2.connectedComponents(_opened(mask, 1).astype(np.uint8), connectivity=4)
    if count < 2:
        return mask
    weights = np.bincount(components.ravel(), _centre_weights(*mask.shape).ravel(), count)
    weights[0] = 0
    kept = (weights >= MIN_COMPONENT * weights.max())[components]
    count, gaps, boxes, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = boxes[:, cv2.CC_STAT_AREA] < MAX_HOLE * kept.sum()
    small[0] = False
    inside = np.ones(count, bool)
    inside[np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]])] = False
    return kept | (small & inside)[gaps]


def _grabcut(pixels: RgbImage, guess: UInt8[np.ndarray, "h w"]) -> Mask:
    if not (guess == cv2.GC_PR_FGD).any():
        return np.zeros(guess.shape, bool)
    cv2.setRNGSeed(SEED)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    cv2.grabCut(bgr, guess, (0, 0, 0, 0), background, foreground, GRABCUT_ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return (guess & 1).astype(bool)


def _opened(mask: Mask, radius: int) -> Mask:
    """Return a mask without what is thinner than twice the radius."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc).astype(bool)


def _centre_weights(height: int, width: int) -> Float[np.ndarray, "h w"]:
    """Return weights that are 1 in the middle and less towards the border."""
    y = (np.arange(height) - (height - 1) / 2) / (height * CENTRE_WIDTH)
    x = (np.arange(width) - (width - 1) / 2) / (width * CENTRE_WIDTH)
    return np.exp(-(y[:, np.newaxis] ** 2 + x**2))
