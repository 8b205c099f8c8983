"""``preprocessing: resize``: an image at the size of the model, in grey or in colour."""

import numpy as np
from PIL import Image, ImageOps

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


def _method(original: tuple[int, int], size: tuple[int, int]) -> Image.Resampling:
    """Return the filter: to shrink, one that is as fast as a triangle and sharper; it would enlarge in steps."""
    is_smaller = all(new <= old for new, old in zip(size, original, strict=True))
    return Image.Resampling.HAMMING if is_smaller else Image.Resampling.BICUBIC
