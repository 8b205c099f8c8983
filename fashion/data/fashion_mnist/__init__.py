"""``data=fashion_mnist``: Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747)."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from fashion.data.dataset import Dataset, PageText, PhotoKnowledge, PixelStatistics, Split
from fashion.data.fashion_mnist import idx_files
from fashion.data.fashion_mnist.synthetic_ood import synthetic_ood
from fashion.data.folds import FoldCount, FoldNumber, split_training_images
from fashion.data.split import evaluation_subset
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
        limit: Number of training images to use, validation included, and with them the same share of the test
            images, but no fewer than 1,000. None uses all.
        validation_fraction: Share of the training images that goes to validation, where there are no folds.
        folds: Number of parts for cross-validation; None for one split that depends on ``seed``.
        fold: The part that is the validation split, from 0; the others are the training split.
        seed: Chooses the images of the subset and of the validation split, unless there are folds; not negative.

    Returns:
        Images ``(n, 28, 28, 1)`` uint8, 0-255, in the order of the official files, and labels ``(n,)`` int64, 0-9.

    Raises:
        InputError: The files cannot be found or are not the published ones, a class would have no image in train
            or in validation, or there is no such fold.
    """
    files = idx_files.load_idx_files(Path(root).expanduser(), download)
    train, validation = split_training_images(
        files.train_labels,
        CLASSES,
        limit=limit,
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
    )
    test = evaluation_subset(files.test_labels, limit, len(files.train_labels))
    train_images, test_images = (images[..., np.newaxis] for images in (files.train_images, files.test_images))
    return Dataset(
        name="fashion_mnist",
        title="Fashion-MNIST",
        classes=CLASSES,
        input=INPUT,
        pixels=PIXELS,
        train=Split(train_images[train], files.train_labels[train], train),
        validation=Split(train_images[validation], files.train_labels[validation], validation),
        test=Split(test_images[test], files.test_labels[test], test),
        digests=files.digests,
        page=PAGE,
        photos=PHOTOS,
    )
