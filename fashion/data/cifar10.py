"""``data=cifar10``: CIFAR-10, photos of animals and vehicles.

Krizhevsky, "Learning multiple layers of features from tiny images", University of Toronto, 2009.
"""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt

from fashion.data import published_files
from fashion.data.array_dataset import PublishedArrays, array_dataset
from fashion.data.dataset import Dataset, PageText
from fashion.data.folds import FoldCount, FoldNumber
from fashion.data.published_files import PublishedFile
from fashion.errors import InputError
from fashion.paths import keras_datasets

# The file and the digest of keras.datasets.cifar10.load_data (Keras 3.15), and what its cache calls the file.
ARCHIVE = PublishedFile(
    name="cifar-10-python.tar.gz",
    digest="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    size=170_498_071,
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    other_names=("cifar-10-batches-py-target_archive", "cifar-10-batches-py.tar.gz"),
)
BATCH_FOLDER = "cifar-10-batches-py"
MAX_BATCH_BYTES = 32_000_000
# For the unpacked files only MD5 is published: in torchvision (datasets/cifar.py).
BATCHES = tuple(
    PublishedFile(name, digest, MAX_BATCH_BYTES, "md5")
    for name, digest in (
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
        ("test_batch", "40351d587109b95175f43aff81a1287e"),
    )
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PAGE = PageText(
    subject="a photo of one animal or vehicle",
    limitations=("It was trained on photos of 32 x 32 pixels, of six kinds of animals and four of vehicles.",),
)


def cifar10(
    root: str,
    download: bool,
    limit: PositiveInt | None,
    validation_fraction: Annotated[float, Field(gt=0, lt=1)],
    folds: FoldCount | None = None,
    fold: FoldNumber | None = None,
    *,
    seed: int,
) -> Dataset:
    """Load CIFAR-10, 50,000 training and 10,000 test images of 32 x 32 pixels in colour.

    Args:
        root: Folder of ``cifar-10-python.tar.gz`` or of ``cifar-10-batches-py``, which are looked for in Keras's cache
            too; ``~`` is the user's home.
        download: Whether the archive may be fetched from the network.
        limit: See ``fashion.data.array_dataset.array_dataset``, as for the keys that follow.
        validation_fraction: See there.
        folds: See there.
        fold: See there.
        seed: Chooses the images of the subset and of the validation split, unless there are folds; not negative.

    Raises:
        InputError: The files cannot be found or are not the published ones; and as ``array_dataset`` does.
    """
    return array_dataset(
        _arrays(_batches(Path(root).expanduser().absolute(), download)),
        name="cifar10",
        title="CIFAR-10",
        classes=CLASSES,
        page=PAGE,
        limit=limit,
        validation_fraction=validation_fraction,
        folds=folds,
        fold=fold,
        seed=seed,
    )


def _batches(root: Path, download: bool) -> Mapping[str, bytes]:
    """Return the verified contents of the six batches, by name."""
    keras = keras_datasets()
    for folder in (root, keras / f"{BATCH_FOLDER}-target", keras):  # Keras 3 unpacks into the second, Keras 2 the third
        contents = published_files.read_folder(folder / BATCH_FOLDER, BATCHES)
        if contents is not None:
            return contents
    packed = published_files.load("CIFAR-10", [ARCHIVE], root, [keras], download=download)[ARCHIVE.name]
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        files = {name: archive.extractfile(f"{BATCH_FOLDER}/{name}") for name in (file.name for file in BATCHES)}
        return {name: file.read() for name, file in files.items() if file is not None}


def _arrays(batches: Mapping[str, bytes]) -> PublishedArrays:
    parts = {name: _images_and_labels(name, content) for name, content in batches.items()}
    test_images, test_labels = parts.pop("test_batch")
    images, labels = zip(*parts.values(), strict=True)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in batches.items()}
    return PublishedArrays(np.concatenate(images), np.concatenate(labels), test_images, test_labels, digests)


def _images_and_labels(name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise InputError(f"{name}: {error}") from None
    planes = batch[b"data"].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.array(batch[b"labels"], np.int64)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads what a batch consists of, and refuses to call anything else, though its digest was verified.

    The files name numpy's modules of 2009.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return the class or function of a name in the file."""
        reconstruct = np.empty(0).__reduce__()[0]
        allowed = {"_reconstruct": reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module in {"numpy", "numpy.core.multiarray", "numpy._core.multiarray"} and name in allowed:
            return allowed[name]
        raise pickle.UnpicklingError(f"refers to {module}.{name}, expected arrays and numbers only")
