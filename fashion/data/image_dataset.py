"""A data set of image files: decoded once, split, and described."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from jaxtyping import Int64, Shaped
from pydantic import Field, PositiveFloat, PositiveInt

from fashion.arrays import Labels
from fashion.data import copies
from fashion.data.cache_space import GIGABYTE
from fashion.data.dataset import Dataset, PixelStatistics, SkippedFile, Split
from fashion.data.image_files import ImageFile, name_some, ordered_classes, printable, slug
from fashion.data.image_rows import ImageRows
from fashion.data.image_splits import split_images
from fashion.data.split import SplitName
from fashion.data.store import StoredImages, open_store
from fashion.errors import InputError
from fashion.plural import counted
from fashion.preprocessing.input_spec import Fit, InputSpec

log = logging.getLogger(__name__)

ImageSize = Annotated[int, Field(ge=28, le=384)]
ColorMode = Literal["rgb", "grayscale"]
Limit = PositiveInt | None
Fraction = Annotated[float, Field(gt=0, lt=1)]
OnBadImage = Literal["fail", "skip"]
CacheSize = PositiveFloat

CHANNELS: dict[str, Literal[1, 3]] = {"grayscale": 1, "rgb": 3}
DRAWN: tuple[SplitName, ...] = ("test", "validation")  # where no images are given for them
DECIMALS = 4  # of the pixel statistics
MIN_DEVIATION = 1e-4  # images of a single grey have none, and a model divides by it


class ImageOptions(NamedTuple):
    """How image files become a data set.

    Attributes:
        image_size: Height and width of every image, in pixels.
        color_mode: Three channels or one.
        fit: What happens to an image of another aspect ratio.
        limit: Number of training images to use, including validation images that are drawn from them; the test images
            shrink in proportion, but not below 1,000. None uses all.
        validation_fraction: Share of the training images that becomes the validation images, where none are given.
        test_fraction: Share of the training images that becomes the test images, where none are given.
        on_bad_image: Whether an unreadable file ends the run or is left out.
        cache: Folder of the decoded images; ``~`` is the user's home.
        cache_gb: Its maximum size, in GB of 1,000,000,000 bytes.
        folds: Number of folds of the training images, for cross-validation; given validation images are then not used.
        fold: The fold that is the validation split, from 0.
    """

    image_size: int
    color_mode: ColorMode
    fit: Fit
    limit: int | None
    validation_fraction: float
    test_fraction: float
    on_bad_image: OnBadImage
    cache: str
    cache_gb: float
    folds: int | None = None
    fold: int | None = None


def load_images(
    root: Path, files: Sequence[ImageFile], options: ImageOptions, seed: int, digests: Mapping[str, str] | None = None
) -> Dataset:
    """Decode image files that are not decoded yet, and divide them into train, validation and test.

    Args:
        root: The folder of the files, whose name becomes the data set's.
        files: The files, in the order that the images of each split keep.
        options: How to decode and to divide them.
        seed: Chooses the images of a subset and of the validation split; not negative.
        digests: Of other files that the data comes from.

    Raises:
        InputError: When there are fewer than two classes, too few images of one, or a file that cannot be read.
        WriteError: When the decoded images cannot be stored.
    """
    classes = ordered_classes(file.label for file in files)
    spec = InputSpec(
        height=options.image_size,
        width=options.image_size,
        channels=CHANNELS[options.color_mode],
        preprocessing="resize",
        fit=options.fit,
    )
    cache = Path(options.cache).expanduser().absolute()
    stored = open_store(root, [file.source for file in files], spec, cache, int(options.cache_gb * GIGABYTE))
    skipped = _skipped(files, stored, options.on_bad_image)
    kept = np.flatnonzero(stored.rows >= 0)
    images = [files[number] for number in kept.tolist()]
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[image.label] for image in images], np.int64)
    given = [image.split for image in images]
    contents = stored.contents[kept]
    _check_classes(root, classes, labels, given)
    positions = split_images(
        labels,
        classes,
        contents,
        given,
        limit=options.limit,
        validation_fraction=options.validation_fraction,
        test_fraction=options.test_fraction,
        folds=options.folds,
        fold=options.fold,
        seed=seed,
    )
    if absent := set(labels.tolist()).difference(labels[positions.train].tolist()):
        raise InputError(
            f"data.limit: the {options.limit} training images include none of "
            f"{name_some(classes[number] for number in sorted(absent))}; raise it, or set it to null"
        )
    sources = np.array([image.source for image in images])
    copies.warn(positions, contents, labels, sources, classes)
    train, validation, test = (
        Split(ImageRows(stored.pixels, stored.rows[kept[split]]), labels[split], sources[split]) for split in positions
    )
    return Dataset(
        name=slug(root.name),
        title=root.name or "images",
        classes=classes,
        input=spec,
        pixels=_pixel_statistics(stored.sums[kept], given, positions.test, spec),
        train=train,
        validation=validation,
        test=test,
        digests={**(digests or {}), "images": _digest(sources, [stored.digests[number] for number in kept.tolist()])},
        skipped=skipped,
        drawn=tuple(name for name in DRAWN if name not in given or (name == "validation" and options.folds)),
    )


def _skipped(files: Sequence[ImageFile], stored: StoredImages, on_bad_image: OnBadImage) -> tuple[SkippedFile, ...]:
    """Return the files that cannot be read, or refuse them."""
    skipped = tuple(SkippedFile(files[number].source, flaw) for number, flaw in sorted(stored.flaws.items()))
    if not skipped:
        return ()
    first = f"{printable(skipped[0].source)}: {skipped[0].reason}"
    if on_bad_image == "fail":
        others = f" (and {counted(len(skipped) - 1, 'other file')})" if len(skipped) > 1 else ""
        raise InputError(f"{first}{others}; repair or remove such files, or set data.on_bad_image=skip")
    log.warning("skipped %d of %d files, which cannot be read; the first: %s", len(skipped), len(files), first)
    return skipped


def _check_classes(root: Path, classes: Sequence[str], labels: Labels, given: Sequence[SplitName | None]) -> None:
    """Refuse classes that cannot be learned, and warn of those that will not be measured."""
    splits = np.array([name or "train" for name in given])
    for split in ("train", "validation", "test"):
        present = set(labels[splits == split].tolist())
        absent = [name for number, name in enumerate(classes) if number not in present]
        if absent and split == "train":
            raise InputError(f"{root} has no training image of {name_some(absent)}; add some, or remove the class")
        if absent and present:
            log.warning("%s has no %s image of %s", root, split, name_some(absent))


def _pixel_statistics(
    sums: Int64[np.ndarray, "n sums"],
    given: Sequence[SplitName | None],
    test: Int64[np.ndarray, " test"],
    spec: InputSpec,
) -> PixelStatistics:
    """Return the statistics of the training images, with the validation images that are drawn from them.

    So they do not depend on the seed, the fold or the limit.
    """
    is_training = np.array([name in {None, "train"} for name in given])
    is_training[test] = False
    total = sums[is_training].sum(axis=0).reshape(2, spec.channels) / (is_training.sum() * spec.height * spec.width)
    mean = total[0] / 255
    deviation = np.sqrt(np.maximum(total[1] / 255**2 - mean**2, 0)).clip(MIN_DEVIATION)
    return PixelStatistics(*(tuple(round(float(value), DECIMALS) for value in row) for row in (mean, deviation)))


def _digest(sources: Shaped[np.ndarray, " n"], digests: Sequence[bytes]) -> str:
    """Return the SHA-256 of what ``sha256sum`` prints for the images, sorted by path."""
    lines = sorted(zip(sources.tolist(), digests, strict=True))
    return hashlib.sha256("".join(f"{digest.hex()}  {source}\n" for source, digest in lines).encode()).hexdigest()
