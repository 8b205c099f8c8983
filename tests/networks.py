"""What training code adds to a network's own settings, for the networks that tests build."""

from fashion.data.dataset import PixelStatistics
from fashion.data.fashion_mnist import PIXELS

GREY_28 = {"input_shape": (28, 28, 1), "classes": 10, "pixels": PIXELS}
COLOUR_PIXELS = PixelStatistics(mean=(0.5, 0.4, 0.3), deviation=(0.25, 0.2, 0.1))
