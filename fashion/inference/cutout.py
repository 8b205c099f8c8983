"""Find the object in a photo: which pixels are the garment, and which the floor, the wall or the table.

Nothing is known of the thing in it, only that the border is mostly ground and the object somewhere in the middle. Both
are weighed, never trusted: sleeves reach the border, and a carpet has more colours than a shirt.
"""

import cv2
import numpy as np
from PIL import Image

from fashion.inference import rgb
from fashion.inference.prepared import SIDE, Prepared

LEAST_SIDE = 16  # pixels; below, there is no border to speak of
DETAIL_SIDE = 320  # pixels of the photo that the 28 are taken from

WORKING_SIDE = 160  # pixels; twice as many take four times as long, and the model sees 28
LIGHTNESS_WEIGHT = 0.6  # shadows change lightness more than hue
SMOOTHING_PIXELS = 1.5
BORDER_SHARE = 0.04
GROUND_COLOURS = 4
COLOUR_NOISE = 16.0  # the least variance of a ground's colour, in units of 8-bit Lab
FARTHEST = 8.0  # standard deviations from the ground's colours; beyond, one is as strange as another
RARE_SIDES, RARE_SHARE = 2, 0.08  # a ground's colour has this share of this many sides of the border, at least
SWEEPS = 3
CENTRE_WIDTH = 0.6  # of the sides
# Of Otsu's threshold of what stands out: below the first, pixels of the border are ground for sure; below the second,
# pixels anywhere may be.
SURELY_GROUND, MAYBE_GROUND = 1.2, 0.5
CLOSE_COLOUR, LOW_BARRIER = 1.8, 0.35
REFINEMENTS = 3
LEAST_PART, LARGEST_HOLE = 0.2, 0.03  # of the largest part; of the object
SEED = 0
LEAST_OBJECT = 0.01  # of the photo
# The outline's pixels are mixed with the ground: they are left out.
EDGE_SMOOTHING, EDGE_LOW, EDGE_HIGH = 1.0, 0.3, 0.7
# Clothes are made as bright as the data set's are: this quantile of them gets this brightness, 0-255.
BRIGHT_QUANTILE, BRIGHT, MOST_GAIN, DIMMEST = 0.97, 230.0, 4.0, 40.0

GROUND, MAYBE, OBJECT = cv2.GC_BGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD


cv2.setNumThreads(1)  # the server and XLA have threads enough


def prepare(picture: Image.Image) -> Prepared:
    """Cut out what a photo shows, negate it as the data set is negated, and fit it into 28 x 28 pixels.

    Args:
        picture: A loaded picture in any mode, upright.
    """
    pixels = np.asarray(rgb.reduced(picture, DETAIL_SIDE))
    scale = WORKING_SIDE / max(pixels.shape)
    size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
    mask = find_object(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    steps = [f"cut out of the photo: {mask.mean():.0%} of {picture.width} x {picture.height}"]
    weight = _edge(mask, pixels.shape[:2])
    if mask.mean() < LEAST_OBJECT or weight.max() <= 0.5:
        steps = ["nothing stands out from its ground: the photo is taken whole"]
        mask, weight = np.ones_like(mask), np.ones(pixels.shape[:2], np.float32)
    seen, (width, height) = _fitted(_negated(pixels, weight))
    return Prepared(seen, (*steps, "negated and made bright", f"resized to {width} x {height}, centred"), mask)


def _edge(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return how much each pixel of the larger photo belongs to the object: ``(h, w)`` float32 in [0, 1]."""
    large = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    large = cv2.GaussianBlur(large, (0, 0), EDGE_SMOOTHING)
    return np.clip((large - EDGE_LOW) / (EDGE_HIGH - EDGE_LOW), 0, 1)


def _negated(pixels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the object, dark parts bright, on 0: ``(h, w)`` float32, 0-255, cropped to it."""
    rows, columns = np.nonzero(weight.max(axis=1) > 0.5)[0], np.nonzero(weight.max(axis=0) > 0.5)[0]
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    dark = 255 - cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)[box]
    brightest = np.quantile(dark[weight[box] > 0.5], BRIGHT_QUANTILE)
    gain = min(BRIGHT / max(brightest, 1.0), MOST_GAIN)
    return np.clip(dark * gain, DIMMEST, 255) * weight[box]


def _fitted(grey: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Return ``(28, 28)`` uint8 with the picture in its middle, as large as it can be, and its width and height."""
    scale = SIDE / max(grey.shape)
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    square = np.zeros((SIDE, SIDE), np.float32)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    square[top : top + height, left : left + width] = small
    return np.round(square).astype(np.uint8), (width, height)


def find_object(pixels: np.ndarray) -> np.ndarray:
    """Return which pixels belong to the object.

    What stands out from the border's colours, and is closed off from the border by edges, makes a first guess; GrabCut
    (Rother et al., 2004, ACM TOG 23:309) finds the outline.

    Args:
        pixels: ``(h, w, 3)`` uint8, 0-255, RGB, whose longer side is about ``WORKING_SIDE``.

    Returns:
        ``(h, w)`` bool; all False where nothing stands out.
    """
    colours = _colours(pixels)
    distance, barrier = _distance_from_ground(colours), _barrier(colours)
    striking = (0.5 * _stretched(distance) + 0.5 * _stretched(barrier)) * (0.5 + 0.5 * _centre(*distance.shape))
    threshold = _otsu(striking)
    maybe = (striking < MAYBE_GROUND * threshold) | ((distance < CLOSE_COLOUR) & (_stretched(barrier) < LOW_BARRIER))
    guess = np.where(_opened(maybe, 1), MAYBE, OBJECT).astype(np.uint8)
    guess[_border(*distance.shape) & (striking < SURELY_GROUND * threshold)] = GROUND
    return _whole(_refined(pixels, guess))


def _colours(pixels: np.ndarray) -> np.ndarray:
    """Return ``(h, w, 3)`` float32: Lab, smoothed, lightness counting less."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 0] *= LIGHTNESS_WEIGHT
    return cv2.GaussianBlur(lab, (0, 0), SMOOTHING_PIXELS)


def _border(height: int, width: int) -> np.ndarray:
    thickness = max(1, round(BORDER_SHARE * min(height, width)))
    border = np.ones((height, width), bool)
    border[thickness:-thickness, thickness:-thickness] = False
    return border


def _distance_from_ground(colours: np.ndarray) -> np.ndarray:
    """Return ``(h, w)`` float32: the Mahalanobis distance to the nearest of the border's colours, at most FARTHEST."""
    height, width, _ = colours.shape
    border = _border(height, width)
    samples = colours[border]
    rows, columns = np.nonzero(border)
    sides = np.argmin([rows, height - 1 - rows, columns, width - 1 - columns], axis=0)
    cv2.setRNGSeed(SEED)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    count = min(GROUND_COLOURS, len(samples))
    _, labels, _ = cv2.kmeans(samples, count, np.empty(0, np.int32), stop, 1, cv2.KMEANS_PP_CENTERS)
    nearest = np.full(height * width, FARTHEST, np.float32)
    for number in range(count):
        chosen = labels[:, 0] == number
        if chosen.sum() < 2:
            continue
        covariance = np.cov(samples[chosen].T) + COLOUR_NOISE * np.eye(3)
        away = colours.reshape(-1, 3) - samples[chosen].mean(axis=0)
        squares = np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance).astype(np.float32), away)
        # What only one side of the border has may be an object that reaches it.
        shares = [np.mean(chosen[sides == side]) for side in range(4) if np.any(sides == side)]
        rare = float(sum(share > RARE_SHARE for share in shares) < RARE_SIDES)
        np.minimum(nearest, np.sqrt(np.maximum(squares, 0)) + rare, out=nearest)
    return nearest.reshape(height, width)


def _barrier(colours: np.ndarray) -> np.ndarray:
    """Return ``(h, w)`` float32: how much colour must change on the way in from the border, at least.

    The minimum barrier distance by sweeps (Zhang et al., 2015, ICCV, "Minimum barrier salient object detection at 80
    FPS"), of each channel at half the size.
    """
    height, width, _ = colours.shape
    half = cv2.resize(colours, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    distance = np.full(half.shape, np.inf, np.float32)
    distance[[0, -1]] = 0
    distance[:, [0, -1]] = 0
    highest, lowest = half.copy(), half.copy()
    for _ in range(SWEEPS):
        for axes in ((0, 1, 2), (1, 0, 2)):  # down and up, then right and left
            arrays = [each.transpose(axes) for each in (half, distance, highest, lowest)]
            for order in (1, -1):
                _sweep(*(each[::order] for each in arrays))
    return cv2.resize(distance.sum(axis=2), (width, height), interpolation=cv2.INTER_LINEAR)


def _sweep(colours: np.ndarray, distance: np.ndarray, highest: np.ndarray, lowest: np.ndarray) -> None:
    """Lead the best path to each row on to the next, in place."""
    for row in range(1, len(colours)):
        high = np.maximum(highest[row - 1], colours[row])
        low = np.minimum(lowest[row - 1], colours[row])
        change = high - low
        better = change < distance[row]
        np.copyto(distance[row], change, where=better)
        np.copyto(highest[row], high, where=better)
        np.copyto(lowest[row], low, where=better)


def _centre(height: int, width: int) -> np.ndarray:
    y = (np.arange(height) - (height - 1) / 2) / (height * CENTRE_WIDTH)
    x = (np.arange(width) - (width - 1) / 2) / (width * CENTRE_WIDTH)
    return np.exp(-(y[:, np.newaxis] ** 2 + x**2)).astype(np.float32)


def _stretched(values: np.ndarray) -> np.ndarray:
    """Return values brought to 0 to 1; the extreme fiftieths are cut."""
    low, high = np.percentile(values, (2, 98))
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1)


def _otsu(values: np.ndarray) -> float:
    threshold, _ = cv2.threshold(np.round(255 * values).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    return threshold / 255


def _refined(pixels: np.ndarray, guess: np.ndarray) -> np.ndarray:
    if not (guess == OBJECT).any() or (guess == OBJECT).all():
        return guess == OBJECT
    cv2.setRNGSeed(SEED)
    models = np.zeros((2, 1, 65))
    cv2.grabCut(np.ascontiguousarray(pixels[..., ::-1]), guess, None, *models, REFINEMENTS, cv2.GC_INIT_WITH_MASK)
    return (guess & 1).astype(bool)


def _opened(mask: np.ndarray, radius: int) -> np.ndarray:
    """Return a mask without what is thinner than twice the radius, such as hangers and strings."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc).astype(bool)


def _whole(mask: np.ndarray) -> np.ndarray:
    """Keep the parts that are large and near the middle, and fill small holes in them."""
    thick = _opened(mask, 1)
    count, parts = cv2.connectedComponents(thick.astype(np.uint8), connectivity=4)
    if count < 2:
        return mask
    weights = np.bincount(parts.ravel(), _centre(*mask.shape).ravel(), count)
    weights[0] = 0
    kept = (weights >= LEAST_PART * weights.max())[parts]
    count, gaps, boxes, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = boxes[:, cv2.CC_STAT_AREA] < LARGEST_HOLE * kept.sum()
    small[0] = False
    inside = np.ones(count, bool)
    inside[np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]])] = False
    return kept | (small & inside)[gaps]
