"""``data=kmnist``: Kuzushiji-MNIST, cursive Japanese characters (Clanuwat et al., 2018, arXiv:1812.01718)."""

import gzip
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from fashion.data import idx, published_files
from fashion.data.array_dataset import PublishedArrays, array_dataset
from fashion.data.dataset import Dataset, PageText
from fashion.data.folds import FoldCount, FoldNumber
from fashion.data.published_files import PublishedFile

URL = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"
# Its authors publish no digests: sizes and SHA-256 are those of TensorFlow Datasets (datasets/kmnist/checksums.tsv).
FILES = tuple(
    PublishedFile(name, digest, size, url=URL + name)
    for name, size, digest in (
        ("train-images-idx3-ubyte.gz", 18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
        ("train-labels-idx1-ubyte.gz", 29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
        ("t10k-images-idx3-ubyte.gz", 3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
        ("t10k-labels-idx1-ubyte.gz", 5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
    )
)
CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
PAGE = PageText(
    question="Which hiragana is this?",
    subject="an image of one cursive character, white on black",
    limitations=(
        "It was trained on ten classical cursive characters, white on black; dark ink on paper has to be inverted "
        "first.",
    ),
)


def kmnist(
    root: str,
    download: bool,
    limit: PositiveInt | None,
    validation_fraction: Annotated[float, Field(gt=0, lt=1)],
    folds: FoldCount | None = None,
    fold: FoldNumber | None = None,
    *,
    seed: int,
) -> Dataset:
    """Load Kuzushiji-MNIST, 60,000 training and 10,000 test images of 28 x 28 grey pixels.

    Args:
        root: Folder of the four ``.gz`` files; ``~`` is the user's home.
        download: Whether they may be fetched from the network.
        limit: See ``fashion.data.array_dataset.array_dataset``, as for the keys that follow.
        validation_fraction: See there.
        folds: See there.
        fold: See there.
        seed: Chooses the images of the subset and of the validation split, unless there are folds; not negative.

    Raises:
        InputError: A file cannot be found or is not the published one; and as ``array_dataset`` does.
    """
    contents = published_files.load("Kuzushiji-MNIST", FILES, Path(root).expanduser().absolute(), [], download=download)
    train_images, train_labels, test_images, test_labels = (
        idx.array(gzip.decompress(contents[file.name])) for file in FILES
    )
    return array_dataset(
        PublishedArrays(
            train_images[..., np.newaxis],
            train_labels.astype(np.int64),
            test_images[..., np.newaxis],
            test_labels.astype(np.int64),
            {file.name: file.digest for file in FILES},
        ),
        name="kmnist",
        title="Kuzushiji-MNIST",
        classes=CLASSES,
        page=PAGE,
        limit=limit,
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
    )
