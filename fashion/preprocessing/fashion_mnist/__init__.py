"""From a decoded image to the model's 28 x 28 grey pixels, by the steps for its kind of image."""

from PIL import Image

from fashion.preprocessing import rgb
from fashion.preprocessing.fashion_mnist import product, segmentation, upscaled
from fashion.preprocessing.model_input import ModelInput

STEPS = (  # in words, for users
    "A 28 x 28 greyscale image is used as it is, also if it was upscaled or coloured by a colour map; if its "
    "background is light, it is inverted, as objects of the data set are light on black. A product photo with a nearly "
    "white or black background is trimmed, resized, sharpened, centred and, if the background is light, inverted, as "
    "the data set was made; its background becomes black. In any other photo the object is segmented first."
)


def prepare(image: Image.Image) -> ModelInput:
    """Turn an image into the model's 28 x 28 pixels.

    28 x 28 grey pixels are used as they are, also if they were upscaled or coloured. A product on a near-white or
    near-black background goes through the data set's own pipeline, as does an image too small to segment. Anything else
    is taken for a photo, whose object is segmented.

    Args:
        image: A loaded image in any mode, upright and opaque, as ``decode`` returns it.
    """
    return upscaled.restore(image) or _product_or_photo(image)


def _product_or_photo(image: Image.Image) -> ModelInput:
    small = rgb.reduced(image, segmentation.DETAIL_SIDE)
    if product.is_product_image(small):
        return product.prepare_product(image)
    if min(image.size) < segmentation.MIN_SIDE:
        return product.fashion_mnist_pipeline(image)
    return segmentation.prepare_photo(small)
