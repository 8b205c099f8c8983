"""What training code adds to a network's own settings, for the networks that tests build."""

from typing import TypedDict

from fashion.data.dataset import PixelStatistics
from fashion.data.fashion_mnist import PIXELS

COLOUR_PIXELS = PixelStatistics(mean=(0.5, 0.4, 0.3), deviation=(0.25, 0.2, 0.1))


class Images(TypedDict):
    """What a data set says about its images."""

    input_shape: tuple[int, int, int]
    classes: int
    pixels: PixelStatistics


GREY_28 = Images(input_shape=(28, 28, 1), classes=10, pixels=PIXELS)


def images_of(side: int, channels: int, classes: int = 10) -> Images:
    """Return the description of square images."""
    return Images(
        input_shape=(side, side, channels), classes=classes, pixels=PIXELS if channels == 1 else COLOUR_PIXELS
    )
