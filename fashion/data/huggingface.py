"""``data=huggingface``: what the library ``datasets`` reads, from its hub or from this machine."""

import glob
import hashlib
import importlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

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
from fashion.data.image_files import SPLIT_NAMES, ImageFile, class_name, name_some, slug
from fashion.data.split import SplitName
from fashion.errors import InputError, WriteError
from fashion.extras import install_command
from fashion.files import LOCK_FILE, waiting_lock
from fashion.plural import counted
from fashion.preprocessing.input_spec import Fit

log = logging.getLogger(__name__)

# In the folder of the decoded images.
FILES_FOLDER = "huggingface"


def huggingface(
    path: str,
    subset: str | None,
    image_column: str | None,
    label_column: str | None,
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
    """Load the images of a data set; its splits train, validation and test are kept, others are ignored.

    Args:
        path: A name on the hub, a folder, or Parquet files, as in ``data/*.parquet``; ``~`` is the user's home.
        subset: Configuration of the data set, where it has several.
        image_column: Column of the images; None for the only one of type ``Image``.
        label_column: Column of the labels; None for the only one of type ``ClassLabel``.
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
        InputError: When the library is not installed, the data set cannot be loaded, or it has no such columns; and as
            ``load_images`` does.
        WriteError: When the images cannot be stored.
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
    library = import_library()
    splits = _splits(_load(library, path, subset))
    features = next(iter(splits.values())).features
    image = image_column or _only_column(features, library.Image, "image_column", "Image")
    label = label_column or _only_column(features, library.ClassLabel, "label_column", "ClassLabel")
    for column, key in ((image, "image_column"), (label, "label_column")):
        if column not in features:
            raise InputError(f"data.{key}: got {column}, expected one of the columns {name_some(features)}")
    folder = Path(cache).expanduser().absolute() / FILES_FOLDER
    # The library has no public name for what identifies the content of a table.
    content = json.dumps([image, *(table._fingerprint for table in splits.values())])
    root = folder / hashlib.sha256(content.encode()).hexdigest()[:16] / slug(Path(path).stem)
    files = list(_image_files(splits, label))
    _write_files(library, splits, image, root)
    return load_images(root, files, options, seed)


def import_library() -> Any:
    """Import the library ``datasets``, without what it offers for TensorFlow, and without its telemetry.

    Raises:
        InputError: When it is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")  # it would report even that a local file was read
    os.environ.setdefault("USE_TF", "0")  # it would look for TensorFlow, which a process on JAX excludes
    logging.getLogger("datasets").setLevel(logging.WARNING)  # it reports which frameworks it has found
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it reports each retry
    try:
        library = importlib.import_module("datasets")
    except ImportError:
        raise InputError(
            f"data=huggingface: the library datasets is not installed; run {install_command('datasets')}"
        ) from None
    if not sys.stderr.isatty():
        library.disable_progress_bars()
    return library


def _load(library: Any, path: str, subset: str | None) -> Mapping[str, Any]:
    """Return the data set's tables, by the names of their splits."""
    local = os.path.expanduser(path)
    files = sorted(glob.glob(local)) if glob.has_magic(local) else [local] if os.path.isfile(local) else []
    # A RuntimeError says that scripts are no longer run.
    errors = (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError, *_hub_errors())
    try:
        if files:
            return dict(library.load_dataset("parquet", data_files=files))
        if os.path.exists(os.path.join(local, "dataset_info.json")) or os.path.exists(
            os.path.join(local, "dataset_dict.json")
        ):
            stored = library.load_from_disk(local)
            return dict(stored) if isinstance(stored, library.DatasetDict) else {"": stored}
        if local.startswith((os.sep, ".")) and not os.path.isdir(local):
            raise FileNotFoundError("there is no such file or folder")
        return dict(library.load_dataset(local if os.path.isdir(local) else path, name=subset))
    except errors as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"data.path: {path} cannot be loaded ({reason[0]}); expected a name on the hub, with a network, or a "
            "folder or Parquet files"
        ) from None


def _hub_errors() -> tuple[type[Exception], ...]:
    try:
        return (importlib.import_module("huggingface_hub.errors").HfHubHTTPError,)
    except (ImportError, AttributeError):
        return ()


def _splits(tables: Mapping[str, Any]) -> dict[SplitName | None, Any]:
    """Return the tables by the split that they are for; a single table is for all splits."""
    if len(tables) == 1:
        return {None: next(iter(tables.values()))}
    known: dict[SplitName | None, Any] = {}
    ignored = []
    for name, table in tables.items():
        split = SPLIT_NAMES.get(name.lower())
        if split is None or split in known:
            ignored.append(name)
        else:
            known[split] = table
    if "train" not in known:
        raise InputError(f"data.path: the data set has the splits {name_some(tables)}, expected one called train")
    if ignored:
        log.warning("the splits %s are ignored; only train, validation and test are used", name_some(ignored))
    return known


def _only_column(features: Mapping[str, Any], kind: type, key: str, what: str) -> str:
    found = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(found) == 1:
        return found[0]
    several = f"the columns {name_some(found)} are" if found else "no column is"
    raise InputError(
        f"data.{key}: is not set, and {several} of type {what}; set it to one of {name_some(found or features)}"
    )


def _image_files(splits: Mapping[SplitName | None, Any], label: str) -> Iterator[ImageFile]:
    for split, table in splits.items():
        names = getattr(table.features.get(label), "names", None)
        labels = list(table[label]) if label in table.features else [None] * len(table)
        unknown = [row for row, value in enumerate(labels) if value is None or (names and value < 0)]
        if unknown and len(unknown) == len(labels) and split != "train":
            log.warning("the %s images have no labels and are not used", split)
            continue
        if unknown:
            others = f" (nor do {counted(len(unknown) - 1, 'other row')})" if len(unknown) > 1 else ""
            raise InputError(
                f"data.label_column: row {unknown[0]} of {split or 'the data set'} has no label{others}; "
                "remove such rows"
            )
        for source, value in zip(_sources(split, table), labels, strict=True):
            yield ImageFile(source, class_name(names[value] if names else str(value)), split)


def _sources(split: SplitName | None, table: Any) -> Iterator[str]:
    """Yield where each image is written, relative to the folder of all."""
    return (f"{split or 'all'}/{row:08d}" for row in range(len(table)))


def _write_files(library: Any, splits: Mapping[SplitName | None, Any], image: str, root: Path) -> None:
    """Write every image as it is stored, undecoded, into a file of its own; once for each version of the data set."""
    partial = root.with_name(f".{root.name}.partial")
    try:
        with waiting_lock(root.parent / LOCK_FILE):
            if root.is_dir():
                return
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            count = sum(map(len, splits.values()))
            log.info("%s: writing %d images to %s", root.name, count, root)
            with tqdm(total=count, desc=root.name, unit=" files", disable=not sys.stderr.isatty()) as bar:
                for split, table in splits.items():
                    (partial / (split or "all")).mkdir(parents=True)
                    undecoded = table.select_columns([image]).cast_column(image, library.Image(decode=False))
                    for source, row in zip(_sources(split, table), undecoded, strict=True):
                        _write_file(partial / source, row[image] or {})
                        bar.update()
            partial.rename(root)
    except OSError as error:
        raise WriteError(
            f"data.cache: the images cannot be stored in {root} ({error.strerror or error}); set data.cache to a "
            "folder on a disk with free space"
        ) from error
    except (TypeError, ValueError, library.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"data.image_column: {image} does not contain images ({reason[0]})") from None


def _write_file(path: Path, cell: Mapping[str, Any]) -> None:
    """Write one image; one without content becomes an empty file, which is then reported as a bad image."""
    content, original = cell.get("bytes"), cell.get("path")
    if content is None and original and os.path.isabs(original):
        path.symlink_to(original)
    else:
        path.write_bytes(content or b"")
