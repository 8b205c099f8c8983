"""``preprocessing: resize``: an image at the size of the model, in grey or in colour."""

import numpy as np
from PIL import Image, ImageOps

from fashion.arrays import HeatMap, PhotoHeatMap
from fashion.preprocessing import rgb
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.model_input import ModelInput


def resize(image: Image.Image, spec: InputSpec) -> ModelInput:
    """Scale an image to the model's height and width, antialiased.

    Args:
        image: A loaded image in any mode, upright and opaque, as ``decode`` returns it.
        spec: The size, the channels, and how another aspect ratio is treated.
    """
    size = (spec.width, spec.height)
    if image.mode not in {"L", "RGB"}:
        image = rgb.crop(image, (0, 0, *image.size))
    mode = "L" if spec.channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    original = image.size
    if original == size:
        return ModelInput(np.array(image).reshape(spec.shape), ())
    method = _method(original, size)
    if spec.fit == "crop":
        image = ImageOps.fit(image, size, method)
    elif spec.fit == "pad":
        image = ImageOps.pad(image, size, method)
    else:
        image = image.resize(size, method)
    step = f"resized from {original[0]} x {original[1]} to {spec.width} x {spec.height}"
    return ModelInput(np.array(image).reshape(spec.shape), (step,))


def on_photo(heat: HeatMap, size: tuple[int, int], spec: InputSpec) -> PhotoHeatMap:
    """Return a map of the model's input as a map of the photo that ``resize`` made the input from.

    Args:
        heat: Of the whole input, at any resolution.
        size: Width and height of the photo, at any scale.
        spec: As it was given to ``resize``.

    Returns:
        ``(height, width)``, interpolated; 0 where ``fit: crop`` cut the photo off.
    """
    scales = spec.width / size[0], spec.height / size[1]
    if spec.fit != "stretch":
        scales = (max(scales) if spec.fit == "crop" else min(scales),) * 2
    seen = spec.width / scales[0], spec.height / scales[1]  # in pixels of the photo
    steps = heat.shape[1] / seen[0], heat.shape[0] / seen[1]
    offsets = [step * (whole - width) / 2 for step, whole, width in zip(steps, seen, size, strict=True)]
    affine = (steps[0], 0, offsets[0], 0, steps[1], offsets[1])
    image = Image.fromarray(heat).transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return np.asarray(image).clip(0, 1)


def _method(original: tuple[int, int], size: tuple[int, int]) -> Image.Resampling:
    """Return the filter: to shrink, one that is as fast as a triangle and sharper; it would enlarge in steps."""
    is_smaller = all(new <= old for new, old in zip(size, original, strict=True))
    return Image.Resampling.HAMMING if is_smaller else Image.Resampling.BICUBIC
