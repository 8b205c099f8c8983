"""Data sets made of arrays."""

from fashion.data.dataset import Dataset, Split
from fashion.data.fashion_mnist import CLASSES, PAGE, PHOTOS, PIXELS
from fashion.preprocessing.fashion_mnist.spec import INPUT


def fashion_like(train: Split, validation: Split, test: Split) -> Dataset:
    """Return splits of 28 x 28 grey images as a data set that says of itself what Fashion-MNIST does."""
    return Dataset(
        "fashion_mnist", "Fashion-MNIST", CLASSES, INPUT, PIXELS, train, validation, test, {}, PAGE, photos=PHOTOS
    )
