"""Images whose content is 28 x 28 grey pixels, however they were saved: in any mode, through a colour map, upscaled.

People send test images as a plotting library saves them. Cropping or sharpening these again costs a fifth of the
accuracy, so they are recognised and restored.

An upscaled image is recognised by synthesis. A resampling method is a matrix ``A`` for each axis, so the pixels that
the image was made from are estimated by least squares, refined by iterative back-projection (Irani and Peleg, 1991,
CVGIP 53:231), upscaled again, and compared with the image. Saving an image rounds its pixels, and JPEG changes them
more. On 60 training images the remaining error, divided by the standard deviation of the pixels, was

- at most 1.0 % without loss (32 to 280 pixels a side);
- as JPEG of quality 90, 3.5 % (smooth) and 4.5 % (nearest) from 56 pixels on;
- as JPEG of quality 75, 3.9 % (smooth) and 8.0 % (nearest) from 100 pixels on;
- for 427 photos that were reduced to grey squares, at least 2.4 % at 32 pixels, 6.4 % (smooth) and 11.9 % (nearest) at
  56, and more in larger ones.

The tolerances below lie between.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from scipy import sparse

from fashion.arrays import GrayImage, RgbImage
from fashion.preprocessing import rgb
from fashion.preprocessing.fashion_mnist.colour_maps import INTERPOLATED, Grey, grey
from fashion.preprocessing.fashion_mnist.product import LIGHT
from fashion.preprocessing.fashion_mnist.spec import INPUT_SIDE
from fashion.preprocessing.model_input import ModelInput

MIN_SIDE, MAX_SIDE = 32, 640  # pixels of an upscaled image
SMOOTH_TOLERANCE, NEAREST_TOLERANCE = 0.045, 0.085  # remaining error, as a share of the standard deviation
# Below twice the side, 28 x 28 pixels explain much of any image.
SMALL_SIDE, SMALL_TOLERANCE = 2 * INPUT_SIDE, 0.015
# A few rows rule out photos, at a fraction of the cost; they are fitted without back-projection, so less well.
SAMPLED_ROWS, SAMPLE_FACTOR = 16, 2.0
MAX_CANDIDATES, MAX_ITERATIONS = 3, 6
ROUNDING = 0.3  # levels, root mean square: no better fit is to be expected

Planes = Float32[np.ndarray, "c h w"]  # 0-255
SmallPlanes = UInt8[np.ndarray, "c 28 28"]


class Resampler(NamedTuple):
    """A way in which a library enlarges images.

    Attributes:
        interpolation: Its name.
        resize: From an array of pixels, and a new width and height.
        tolerance: Remaining error that is accepted, as a share of the standard deviation.
    """

    interpolation: str
    resize: Callable[[np.ndarray, tuple[int, int]], np.ndarray]
    tolerance: float = SMOOTH_TOLERANCE


def _pillow(method: Image.Resampling) -> Callable[[np.ndarray, tuple[int, int]], np.ndarray]:
    return lambda pixels, size: np.asarray(Image.fromarray(pixels).resize(size, method))


def _opencv(method: int) -> Callable[[np.ndarray, tuple[int, int]], np.ndarray]:
    return lambda pixels, size: cv2.resize(pixels, size, interpolation=method)


# Bilinear interpolation is the same in both libraries; they differ in the pixels that "nearest" means, and in the
# kernels of the others.
RESAMPLERS = (
    Resampler("nearest", _pillow(Image.Resampling.NEAREST), NEAREST_TOLERANCE),
    Resampler("bilinear", _pillow(Image.Resampling.BILINEAR)),
    Resampler("bicubic", _pillow(Image.Resampling.BICUBIC)),
    Resampler("nearest", _opencv(cv2.INTER_NEAREST), NEAREST_TOLERANCE),
    Resampler("bicubic", _opencv(cv2.INTER_CUBIC)),
    Resampler("Lanczos", _pillow(Image.Resampling.LANCZOS)),
    Resampler("Lanczos", _opencv(cv2.INTER_LANCZOS4)),
)


class Upscaling(NamedTuple):
    """A resampling method for one size.

    Attributes:
        matrix: From a column of 28 pixels to an upscaled one, ``(side, 28)``. It is sparse, and products with it use
            one core; for dense ones BLAS starts threads, which wait for each other where other processes are busy.
        inverse: Of ``matrix.T @ matrix``, ``(28, 28)``.
        tolerance: Remaining error that is accepted, as a share of the standard deviation.
    """

    matrix: sparse.csr_array
    inverse: Float32[np.ndarray, "28 28"]
    tolerance: float

    def column_estimates(self, columns: Float32[np.ndarray, "side n"]) -> Float32[np.ndarray, "28 n"]:
        """Return the columns of 28 pixels that these were most probably upscaled from (least squares)."""
        return self.inverse @ (self.matrix.T @ columns)

    def image_estimate(self, plane: Float32[np.ndarray, "side side"]) -> Float32[np.ndarray, "28 28"]:
        """Return the pixels that an image was most probably upscaled from (least squares)."""
        return self.inverse @ (self.matrix.T @ (self.matrix.T @ plane).T).T @ self.inverse


@lru_cache(maxsize=64)
def _upscaling(resampler: Resampler, side: int) -> Upscaling:
    matrix = resampler.resize(np.eye(INPUT_SIDE, dtype=np.float32), (INPUT_SIDE, side))
    inverse = np.linalg.inv(matrix.T.astype(np.float64) @ matrix).astype(np.float32)
    return Upscaling(sparse.csr_array(matrix), inverse, SMALL_TOLERANCE if side < SMALL_SIDE else resampler.tolerance)


def restore(image: Image.Image) -> ModelInput | None:
    """Return the 28 x 28 grey pixels that an image was made from; None if it shows anything else.

    What is dark on light is negated. No image of Fashion-MNIST is: the median of its corners is at most 51.

    Args:
        image: A loaded image in any mode, upright and opaque.
    """
    side = image.width
    if image.height != side or not (side == INPUT_SIDE or MIN_SIDE <= side <= MAX_SIDE):
        return None
    if image.mode.startswith("I"):  # 16 bits a pixel
        levels = np.asarray(image)
        if levels.max() <= 255:  # of which only 8 are used
            image = Image.fromarray(levels.astype(np.uint8))
    found = _as_is(image) if side == INPUT_SIDE else _downscaled(image)
    if found is None:
        return None
    (pixels, colour_map), *steps = found
    if colour_map:
        steps.append(f"colours of {colour_map} converted to grey")
    if _median_corner(pixels) >= LIGHT:
        pixels = 255 - pixels
        steps.append("negated: its background is light")
    return ModelInput(pixels[..., np.newaxis], tuple(steps))


def _median_corner(pixels: GrayImage) -> float:
    corners = sorted(pixels[:: INPUT_SIDE - 1, :: INPUT_SIDE - 1].ravel().tolist())  # np.median takes ten times as long
    return (corners[1] + corners[2]) / 2


def _as_is(image: Image.Image) -> tuple[Grey, str] | None:
    found = Grey(np.asarray(image)) if image.mode == "L" else grey(_rgb(image), INTERPOLATED)
    return found and (found, f"used as is: {INPUT_SIDE} x {INPUT_SIDE} grey")


def _downscaled(image: Image.Image) -> tuple[Grey, str] | None:
    """Return what an image was upscaled from, and the step that says so."""
    candidates = _candidates(image)
    if not candidates:
        return None
    pixels = _rgb(image)
    large = grey(pixels)
    fitted = _best_fit(_planes(pixels, large), candidates)
    if fitted is None:
        return None
    planes, interpolation = fitted
    small = large._replace(pixels=planes[0]) if large else grey(planes.transpose(1, 2, 0), INTERPOLATED)
    size = f"{image.width} x {image.height}"
    return small and (small, f"restored to {INPUT_SIDE} x {INPUT_SIDE} from {size} ({interpolation} interpolation)")


def _rgb(image: Image.Image) -> RgbImage:
    return np.asarray(rgb.crop(image, (0, 0, *image.size)))


def _planes(pixels: RgbImage, large: Grey | None) -> Planes:
    planes = pixels.transpose(2, 0, 1) if large is None else large.pixels[np.newaxis]
    return planes.astype(np.float32)


def _candidates(image: Image.Image) -> list[Resampler]:
    """Return the methods that an image may have been upscaled by, the best first, judged by a few of its rows."""
    side = image.width
    rows = np.linspace(0, side - 1, SAMPLED_ROWS + 2)[1:-1].round().astype(int)
    pixels = np.concatenate([np.asarray(rgb.crop(image, (0, row, side, row + 1))) for row in rows.tolist()])
    columns = _planes(pixels, grey(pixels)).reshape(-1, side).T
    found = []
    for resampler in RESAMPLERS:
        upscaling = _upscaling(resampler, side)
        error = _rms(columns - (upscaling.matrix @ upscaling.column_estimates(columns)).clip(0, 255))
        if error < SAMPLE_FACTOR * upscaling.tolerance * columns.std():
            found.append((error, resampler))
    return [resampler for _, resampler in sorted(found, key=lambda each: each[0])[:MAX_CANDIDATES]]


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))


def _best_fit(planes: Planes, candidates: Sequence[Resampler]) -> tuple[SmallPlanes, str] | None:
    """Return the pixels that an image was upscaled from, and the interpolation; None if no candidate fits."""
    side, deviation = planes.shape[-1], planes.std()
    best, found = np.inf, None
    for resampler in candidates:
        error, small = _fitted(planes, resampler)
        if error < min(best, _upscaling(resampler, side).tolerance * deviation):
            best, found = error, (small, resampler.interpolation)
        if best <= ROUNDING:
            break
    return found


def _fitted(planes: Planes, resampler: Resampler) -> tuple[float, SmallPlanes]:
    """Return the error that remains, and the pixels that leave it."""
    side = planes.shape[-1]
    estimate = _upscaling(resampler, side).image_estimate
    small = np.zeros((len(planes), INPUT_SIDE, INPUT_SIDE), np.uint8)
    best, found, error = np.inf, small, planes
    for _ in range(MAX_ITERATIONS):
        correction = np.stack([estimate(plane) for plane in error])
        small = (small + correction).round().clip(0, 255).astype(np.uint8)
        error = planes - np.stack([resampler.resize(plane, (side, side)) for plane in small])
        remaining = _rms(error)
        if remaining >= best:
            break
        best, found = remaining, small
        if best <= ROUNDING:
            break
    return best, found
