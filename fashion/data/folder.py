"""``data=folder``: image files in a folder for each class."""

import os
from pathlib import Path

from fashion.data.dataset import Dataset
from fashion.data.folds import FoldCount, FoldNumber
from fashion.data.image_dataset import (
    CacheSize,
    ColorMode,
    Fraction,
    ImageOptions,
    ImageSize,
    Limit,
    OnBadImage,
    load_images,
)
from fashion.data.image_files import ExistingFolder, scan_folder
from fashion.preprocessing.input_spec import Fit


def folder(
    root: ExistingFolder,
    image_size: ImageSize,
    color_mode: ColorMode,
    fit: Fit,
    limit: Limit,
    validation_fraction: Fraction,
    test_fraction: Fraction,
    on_bad_image: OnBadImage,
    cache: str,
    cache_gb: CacheSize,
    folds: FoldCount | None = None,
    fold: FoldNumber | None = None,
    *,
    seed: int,
) -> Dataset:
    """Load the images in ``root/CLASS/*``, or in ``root/train|validation|test/CLASS/*``, ordered by file name.

    Args:
        root: The folder; ``~`` is the user's home.
        image_size: See ``fashion.data.image_dataset.ImageOptions``, as for the keys that follow.
        color_mode: See there.
        fit: See there.
        limit: See there.
        validation_fraction: See there.
        test_fraction: See there.
        on_bad_image: See there.
        cache: See there.
        cache_gb: See there.
        folds: See there.
        fold: See there.
        seed: Chooses the images of a subset and of the validation split; not negative.

    Raises:
        InputError: When the folder cannot be read or is not of one of the two layouts; and as ``load_images`` does.
    """
    options = ImageOptions(
        image_size,
        color_mode,
        fit,
        limit,
        validation_fraction,
        test_fraction,
        on_bad_image,
        cache,
        cache_gb,
        folds,
        fold,
    )
    path = Path(os.path.abspath(Path(root).expanduser()))
    return load_images(path, scan_folder(path), options, seed)
