"""``data=manifest``: a table of image files, their labels and, optionally, their splits."""

import csv
import hashlib
import importlib
import logging
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from fashion.data.image_files import SPLIT_NAMES, ExistingFile, ImageFile, class_name
from fashion.data.split import SplitName
from fashion.errors import InputError
from fashion.extras import install_command
from fashion.preprocessing.input_spec import Fit

log = logging.getLogger(__name__)

REQUIRED_COLUMNS, SPLIT_COLUMN = ("path", "label"), "split"


def manifest(
    file: ExistingFile,
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
    """Load the images that a table lists, in the order of its rows.

    Args:
        file: A CSV file in UTF-8 or a Parquet file with the columns ``path``, relative to the folder of the table,
            ``label`` and, optionally, ``split``: train, validation or test.
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
        InputError: When the file cannot be read, lacks a column or a value, or lists a path outside its folder; and
            as ``load_images`` does.
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
    path = Path(os.path.abspath(Path(file).expanduser()))
    return load_images(
        path.parent, read_manifest(path), options, seed, {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    )


def read_manifest(path: Path) -> list[ImageFile]:
    """Return the image files that a table lists, in the order of its rows.

    Raises:
        InputError: When the table cannot be read, lacks a column or a value, lists a path outside its folder, or lists
            one twice.
    """
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path)
    listed: dict[str, str] = {}
    files = []
    for place, row in rows:
        image = _image_file(f"data.file: {path}, {place}", row)
        if image.source in listed:
            raise InputError(
                f"data.file: {path}, {place}: {image.source} is already listed in {listed[image.source]}; "
                "expected every file once, with one label"
            )
        listed[image.source] = place
        files.append(image)
    if not files:
        raise InputError(f"data.file: {path} lists no images, expected one per row")
    return files


def _image_file(place: str, row: Mapping[str, object]) -> ImageFile:
    path, label = (_text(row[column]) for column in REQUIRED_COLUMNS)
    for column, value in (("path", path), ("label", label)):
        if not value:
            raise InputError(f"{place}: the column {column} is empty, expected a value in every row")
    source = posixpath.normpath(path.replace("\\", "/"))
    if posixpath.isabs(source) or source.split("/")[0] == "..":
        raise InputError(
            f"{place}: {path} is outside the table's folder, expected a path relative to it; move the table to a "
            "folder that contains all images"
        )
    split: SplitName | None = None
    if SPLIT_COLUMN in row:
        given = _text(row[SPLIT_COLUMN])
        if given.lower() not in SPLIT_NAMES:
            raise InputError(f"{place}: got {given!r} as the split, expected train, validation or test")
        split = SPLIT_NAMES[given.lower()]
    return ImageFile(source, class_name(label), split)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="")
            columns = _columns(path, reader.fieldnames or ())
            warned = False
            for row in reader:
                if reader.restkey in row:
                    raise InputError(
                        f"data.file: {path}, line {reader.line_num}: has more values than there are columns; "
                        "quote values that contain a comma"
                    )
                if not warned and any("\n" in value for value in row.values()):
                    warned = True
                    log.warning(
                        "%s, line %d: a value has several lines; if a quotation mark is missing, rows are lost there",
                        path,
                        reader.line_num,
                    )
                yield f"line {reader.line_num}", {column: row[name] for column, name in columns.items()}
    except FileNotFoundError:
        raise InputError(f"data.file: there is no file {path}") from None
    except OSError as error:
        raise InputError(f"data.file: {path} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"data.file: {path} is not a CSV file in UTF-8 ({error}); save it as one") from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        parquet, pyarrow = importlib.import_module("pyarrow.parquet"), importlib.import_module("pyarrow")
    except ImportError:
        raise InputError(
            f"data.file: {path} is a Parquet file; to read it, run {install_command('datasets')}"
        ) from None
    try:
        columns = _columns(path, parquet.read_schema(path).names)
        table = parquet.read_table(path, columns=list(columns.values()))
    except FileNotFoundError:
        raise InputError(f"data.file: there is no file {path}") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"data.file: {path} cannot be read as Parquet ({error})") from None
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"row {number}", {column: row[name] for column, name in columns.items()}


def _columns(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the name of each column that is read, as the table writes it: case and outer spaces do not matter.

    Raises:
        InputError: When one is missing, or there twice.
    """
    columns: dict[str, str] = {}
    for name in names:
        column = name.strip().lower()
        if column in columns:
            raise InputError(f"data.file: {path} has two columns called {column}; expected one")
        if column in {*REQUIRED_COLUMNS, SPLIT_COLUMN}:
            columns[column] = name
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    if missing:
        raise InputError(
            f"data.file: {path} has no column {' and no column '.join(missing)}; expected path, label and, optionally, "
            f"split; got {', '.join(names) or 'none'}"
        )
    return columns
