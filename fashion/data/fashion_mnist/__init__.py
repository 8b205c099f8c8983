"""``data=fashion_mnist``: Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747)."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from fashion.data.array_dataset import PublishedArrays, array_dataset
from fashion.data.dataset import Dataset, PageText, PhotoKnowledge, PixelStatistics
from fashion.data.fashion_mnist import idx_files
from fashion.data.fashion_mnist.synthetic_ood import synthetic_ood
from fashion.data.folds import FoldCount, FoldNumber
from fashion.preprocessing.fashion_mnist.spec import INPUT

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# Of the 60,000 training images, rounded: 0.28604, 0.35302.
PIXELS = PixelStatistics(mean=(0.2860,), deviation=(0.3530,))
PAGE = PageText(
    question="What is this piece of clothing?",
    subject="a photo of one garment, shoe or bag",
    limitations=(
        "It was trained on small grey catalogue images of single items on a plain background. Clothes that are worn, "
        "folded, cropped or in front of a busy background are harder, and its percentages are less reliable there.",
        "It ignores colour, brand and size.",
    ),
)
PHOTOS = PhotoKnowledge(
    # The training images are products, among which a Shirt is any garment for the upper body, and a Bag any unusual
    # outline. The best of 320 on one half of 341 photos, none of which shows a bag; the other half gains too.
    priors={"Pullover": 3.0, "Dress": 2.5, "Shirt": 0.65, "Sandal": 2.0, "Sneaker": 2.0, "Ankle boot": 2.0},
    synthetic_ood=synthetic_ood,
)


def fashion_mnist(
    root: str,
    download: bool,
    limit: PositiveInt | None,
    validation_fraction: Annotated[float, Field(gt=0, lt=1)],
    folds: FoldCount | None = None,  # configurations of earlier releases lack them
    fold: FoldNumber | None = None,
    *,
    seed: int,
) -> Dataset:
    """Load Fashion-MNIST and split its training images into train and validation, with all classes in proportion.

    Args:
        root: Folder of the verified files; ``~`` is the user's home.
        download: Whether missing files may be fetched from the network.
        limit: See ``fashion.data.array_dataset.array_dataset``, as for the keys that follow.
        validation_fraction: See there.
        folds: See there.
        fold: See there.
        seed: Chooses the images of the subset and of the validation split, unless there are folds; not negative.

    Returns:
        Images ``(n, 28, 28, 1)`` uint8, 0-255, in the order of the official files, and labels ``(n,)`` int64, 0-9.

    Raises:
        InputError: The files cannot be found or are not the published ones; and as ``array_dataset`` does.
    """
    files = idx_files.load_idx_files(Path(root).expanduser(), download)
    dataset = array_dataset(
        PublishedArrays(
            files.train_images[..., np.newaxis],
            files.train_labels,
            files.test_images[..., np.newaxis],
            files.test_labels,
            files.digests,
        ),
        name="fashion_mnist",
        title="Fashion-MNIST",
        classes=CLASSES,
        page=PAGE,
        limit=limit,
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
    )
    return replace(dataset, input=INPUT, photos=PHOTOS)
