"""From a decoded image to the model's 28 x 28 grey pixels, by the steps for its kind of image."""

from pathlib import Path

from PIL import Image

from fashion.errors import FashionError, InputError
from fashion.preprocessing import rgb
from fashion.preprocessing.decode import ORIGINAL_SIZE, decode
from fashion.preprocessing.fashion_mnist import product, segmentation, upscaled
from fashion.preprocessing.model_input import ModelInput


def read(path: Path) -> ModelInput:
    """Decode and prepare an image file.

    Raises:
        InputError: When the file is missing, of no format that is read, damaged, or too large.
    """
    try:
        with path.open("rb") as stream:
            return prepare(decode(stream))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except FashionError as error:
        raise InputError(f"{path}: {error}") from None


def prepare(image: Image.Image) -> ModelInput:
    """Turn an image into the model's 28 x 28 pixels.

    28 x 28 grey pixels are used as they are, also if they were upscaled or coloured. A product on a near-white or
    near-black background goes through the data set's own pipeline, as does an image too small to segment. Anything else
    is taken for a photo, whose object is segmented.

    Args:
        image: A loaded image in any mode, upright and opaque, as ``decode`` returns it.
    """
    prepared = upscaled.restore(image) or _product_or_photo(image)
    original, decoded = image.info.get(ORIGINAL_SIZE, image.size), image.size
    if original == decoded:
        return prepared
    reduced = f"decoded at {decoded[0]} x {decoded[1]} instead of {original[0]} x {original[1]}"
    return prepared._replace(steps=(reduced, *prepared.steps))


def _product_or_photo(image: Image.Image) -> ModelInput:
    small = rgb.reduced(image, segmentation.DETAIL_SIDE)
    if product.is_product_image(small):
        return product.prepare_product(image)
    if min(image.size) < segmentation.MIN_SIDE:
        return product.fashion_mnist_pipeline(image)
    return segmentation.prepare_photo(small)
