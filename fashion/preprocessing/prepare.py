"""From an image file to the pixels that a model takes: the one way, for training and for serving."""

import math
from pathlib import Path

from PIL import Image

from fashion.errors import InputError
from fashion.preprocessing.decode import NEEDED_SIDE, ORIGINAL_SIZE, load, open_checked
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.model_input import ModelInput
from fashion.preprocessing.resize import resize

# A JPEG is decoded at a half, a quarter or an eighth of its size as long as it stays this many times as large as the
# input. Compared with Lanczos's filter on the whole photo, 600 photos at 64 to 160 pixels then have a signal-to-noise
# ratio (PSNR) of 34 to 41 dB, in 0.4 to 0.8 ms each; with 1.0 down to 32 dB; from whole photos 39 to 41 dB, in up to
# 1.4 ms.
MIN_DRAFT_SCALE = 1.25


def decode_side(spec: InputSpec) -> int:
    """Return how many pixels each side of a decoded image must keep, if it has them."""
    if spec.preprocessing == "fashion_mnist":
        return NEEDED_SIDE
    return math.ceil(MIN_DRAFT_SCALE * max(spec.height, spec.width))


def prepare(image: Image.Image, spec: InputSpec) -> ModelInput:
    """Turn a decoded image into a model's pixels.

    Args:
        image: A loaded image in any mode, upright and opaque, as ``decode.load`` returns it for ``decode_side``.
        spec: What the model takes.
    """
    prepared = _fashion_mnist(image) if spec.preprocessing == "fashion_mnist" else resize(image, spec)
    original, decoded = image.info.get(ORIGINAL_SIZE, image.size), image.size
    if original == decoded:
        return prepared
    reduced = f"decoded at {decoded[0]} x {decoded[1]} instead of {original[0]} x {original[1]}"
    return prepared._replace(steps=(reduced, *prepared.steps))


def _fashion_mnist(image: Image.Image) -> ModelInput:
    from fashion.preprocessing import fashion_mnist  # with SciPy, which takes longer than to decode a hundred images

    return fashion_mnist.prepare(image)


def read_bytes(content: bytes, spec: InputSpec) -> ModelInput:
    """Decode and prepare the content of an image file.

    Raises:
        InputError: When it is of no format that is read, damaged, or too large.
    """
    return prepare(load(open_checked(content), decode_side(spec)), spec)


def read(path: Path, spec: InputSpec) -> ModelInput:
    """Decode and prepare an image file.

    Raises:
        InputError: When the file is missing, of no format that is read, damaged, or too large; the message names it.
    """
    try:
        return read_bytes(path.read_bytes(), spec)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
