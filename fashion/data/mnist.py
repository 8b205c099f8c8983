"""``data=mnist``: handwritten digits (LeCun, Bottou, Bengio and Haffner, 1998, Proc. IEEE 86:2278)."""

import io
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from fashion.data import published_files
from fashion.data.array_dataset import PublishedArrays, array_dataset
from fashion.data.dataset import Dataset, PageText
from fashion.data.folds import FoldCount, FoldNumber
from fashion.data.published_files import PublishedFile
from fashion.paths import keras_datasets

# The file and the digest of keras.datasets.mnist.load_data (Keras 3.15).
NPZ = PublishedFile(
    name="mnist.npz",
    digest="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    size=11_490_434,
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
)
CLASSES = tuple("0123456789")
PAGE = PageText(
    question="Which digit is this?",
    subject="an image of one handwritten digit, white on black",
    limitations=("It was trained on centred white digits on black; dark ink on white paper has to be inverted first.",),
)


def mnist(
    root: str,
    download: bool,
    limit: PositiveInt | None,
    validation_fraction: Annotated[float, Field(gt=0, lt=1)],
    folds: FoldCount | None = None,
    fold: FoldNumber | None = None,
    *,
    seed: int,
) -> Dataset:
    """Load MNIST, 60,000 training and 10,000 test images of 28 x 28 grey pixels.

    Args:
        root: Folder of ``mnist.npz``, which is looked for in Keras's cache too; ``~`` is the user's home.
        download: Whether it may be fetched from the network.
        limit: See ``fashion.data.array_dataset.array_dataset``, as for the keys that follow.
        validation_fraction: See there.
        folds: See there.
        fold: See there.
        seed: Chooses the images of the subset and of the validation split, unless there are folds; not negative.

    Raises:
        InputError: The file cannot be found or is not the published one; and as ``array_dataset`` does.
    """
    folder = Path(root).expanduser().absolute()
    contents = published_files.load("MNIST", [NPZ], folder, [keras_datasets()], download=download)
    return array_dataset(
        _arrays(contents[NPZ.name]),
        name="mnist",
        title="MNIST",
        classes=CLASSES,
        page=PAGE,
        limit=limit,
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
    )


def _arrays(content: bytes) -> PublishedArrays:
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        train_images, test_images = (stored[name][..., np.newaxis] for name in ("x_train", "x_test"))
        train_labels, test_labels = (stored[name].astype(np.int64) for name in ("y_train", "y_test"))
    return PublishedArrays(train_images, train_labels, test_images, test_labels, {NPZ.name: NPZ.digest})
