"""``data=huggingface`` on tables that the library ``datasets`` has written, all of them on this machine."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folders import OPTIONS, load_folder, pixels, write_classes
from PIL import Image

from fashion.data.dataset import Dataset
from fashion.data.huggingface import huggingface, import_library
from fashion.errors import FashionError, InputError

datasets = import_library()
PETS = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library")


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(seed)).save(stream, "PNG")
    return stream.getvalue()


def table(count: int, first_seed: int = 0, features: Any = PETS, **columns: Any) -> Any:
    """Return a table whose images are cats and dogs in turn."""
    images = [{"bytes": png(first_seed + number), "path": None} for number in range(count)]
    own = {"image": images, "label": [number % 2 for number in range(count)], **columns}
    return datasets.Dataset.from_dict({name: own[name] for name in features}, features=features)


def load(path: object, cache: Path, seed: int = 0, **options: Any) -> Dataset:
    keys = {"subset": None, "image_column": None, "label_column": None, "cache": str(cache), **OPTIONS, **options}
    return huggingface(str(path), **keys, seed=seed)


def images_of(data: Dataset) -> dict[str, np.ndarray]:
    splits = (data.train, data.validation, data.test)
    return {source: split.images[at] for split in splits for at, source in enumerate(split.sources.tolist())}


def test_a_parquet_file_is_split(tmp_path):
    table(40).to_parquet(tmp_path / "My pets.parquet")
    data = load(tmp_path / "My pets.parquet", tmp_path)
    assert (data.name, data.classes) == ("my_pets", ("cat", "dog"))
    assert [len(data.train), len(data.validation), len(data.test)] == [26, 6, 8]
    assert np.bincount(data.test.labels).tolist() == [4, 4]
    assert len(images_of(data)) == 40
    for source, image in images_of(data).items():
        assert np.array_equal(image, pixels(int(source.split("/")[1])))


def test_the_images_are_those_of_the_same_files_in_folders(tmp_path):
    """Decoded by the same function, and from image files of the library's own layout without a copy."""
    for number, split in enumerate(("train", "validation", "test")):
        write_classes(tmp_path / "pets" / split, {"cat": 4, "dog": 4}, 100 * number)
    plain, loaded = load_folder(tmp_path / "pets", image_size=32), load(tmp_path / "pets", tmp_path, image_size=32)
    assert loaded.classes == plain.classes
    assert loaded.pixels == plain.pixels
    for ours, theirs in ((loaded.train, plain.train), (loaded.validation, plain.validation), (loaded.test, plain.test)):
        assert sorted(image.tobytes() for image in ours.images[:]) == sorted(
            image.tobytes() for image in theirs.images[:]
        )
    files = [path for path in tmp_path.rglob("huggingface/*/pets/train/*") if path.is_symlink()]
    assert len(files) == 8


def test_given_splits_are_kept_and_others_are_ignored(tmp_path, caplog):
    tables = datasets.DatasetDict(train=table(12), val=table(4, 100), test=table(6, 200), extra=table(4, 300))
    tables.save_to_disk(tmp_path / "pets")
    data = load(tmp_path / "pets", tmp_path)
    assert [len(data.train), len(data.validation), len(data.test)] == [12, 4, 6]
    assert {source.split("/")[0] for source in data.validation.sources} == {"validation"}
    assert "the splits extra are ignored" in caplog.text


def test_parquet_files_of_a_folder_give_the_splits_of_their_names(tmp_path):
    for name, rows in (
        ("train-00000-of-00002", table(6)),
        ("train-00001-of-00002", table(6, 50)),
        ("test-00000-of-00001", table(4, 90)),
    ):
        (tmp_path / "pets" / "data").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(tmp_path / "pets" / "data" / f"{name}.parquet")
    data = load(tmp_path / "pets", tmp_path)
    assert [len(data.train) + len(data.validation), len(data.test)] == [12, 4]
    several = load(tmp_path / "pets" / "data" / "train-*.parquet", tmp_path)
    assert sum(map(len, (several.train, several.validation, several.test))) == 12


def test_a_second_run_writes_and_decodes_nothing(tmp_path, caplog):
    caplog.set_level("INFO")
    table(20).to_parquet(tmp_path / "pets.parquet")
    first = images_of(load(tmp_path / "pets.parquet", tmp_path))
    assert "writing 20 images" in caplog.text
    assert "20 files in" in caplog.text
    caplog.clear()
    again = images_of(load(tmp_path / "pets.parquet", tmp_path))
    assert "writing" not in caplog.text
    assert " files in " not in caplog.text
    assert all(np.array_equal(image, again[source]) for source, image in first.items())
    table(20, 500).to_parquet(tmp_path / "pets.parquet")
    assert np.array_equal(images_of(load(tmp_path / "pets.parquet", tmp_path))["all/00000003"], pixels(503))


def test_columns_are_named_and_labels_may_be_text_or_numbers(tmp_path):
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "mask": datasets.Image(),
            "kind": datasets.Value("string"),
            "grade": datasets.Value("int64"),
        }
    )
    masks = [{"bytes": png(700 + number), "path": None} for number in range(20)]
    kinds, grades = [["owl", "élan"][number % 2] for number in range(20)], [number % 2 + 9 for number in range(20)]
    table(20, features=features, mask=masks, kind=kinds, grade=grades).to_parquet(tmp_path / "pets.parquet")
    by_kind = load(tmp_path / "pets.parquet", tmp_path, image_column="image", label_column="kind")
    assert by_kind.classes == ("owl", "élan")
    assert np.array_equal(images_of(by_kind)["all/00000002"], pixels(2))
    by_grade = load(tmp_path / "pets.parquet", tmp_path, image_column="mask", label_column="grade")
    assert by_grade.classes == ("9", "10")
    assert np.array_equal(images_of(by_grade)["all/00000002"], pixels(702))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "data.image_column: is not set, and the columns image, mask are of type Image; set it to one of image"),
        (
            {"image_column": "mask"},
            "data.label_column: is not set, and no column is of type ClassLabel; set it to",
        ),
        ({"image_column": "photo"}, "data.label_column: is not set"),
        (
            {"image_column": "photo", "label_column": "kind"},
            "data.image_column: got photo, expected one of",
        ),
        ({"image_column": "image", "label_column": "sort"}, "data.label_column: got sort, expected one of the columns"),
        ({"image_column": "kind", "label_column": "kind"}, "all/00000000: is not an image"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, options, message):
    features = datasets.Features(
        {"image": datasets.Image(), "mask": datasets.Image(), "kind": datasets.Value("string")}
    )
    masks = [{"bytes": png(700 + number), "path": None} for number in range(6)]
    table(6, features=features, mask=masks, kind=["a", "b"] * 3).to_parquet(tmp_path / "pets.parquet")
    with pytest.raises(FashionError, match=message) as caught:
        load(tmp_path / "pets.parquet", tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_bad_images_are_named_or_skipped(tmp_path):
    rows = table(20).to_dict()
    rows["image"][3], rows["image"][8] = {"bytes": b"text", "path": None}, None
    datasets.Dataset.from_dict(rows, features=PETS).to_parquet(tmp_path / "pets.parquet")
    with pytest.raises(InputError, match=r"^all/00000003: .*\(and 1 other file\); repair or remove"):
        load(tmp_path / "pets.parquet", tmp_path)
    data = load(tmp_path / "pets.parquet", tmp_path, on_bad_image="skip")
    assert [file.source for file in data.skipped] == ["all/00000003", "all/00000008"]
    assert len(images_of(data)) == 18


def test_test_images_without_labels_are_left_out_and_training_images_refused(tmp_path, caplog):
    hidden = table(4, 100, label=[-1] * 4)
    datasets.DatasetDict(train=table(20), test=hidden).save_to_disk(tmp_path / "pets")
    data = load(tmp_path / "pets", tmp_path)
    assert "the test images have no labels and are not used" in caplog.text
    assert {source.split("/")[0] for source in images_of(data)} == {"train"}
    without = table(4, 100).remove_columns("label")
    datasets.DatasetDict(train=table(20), test=without).save_to_disk(tmp_path / "other")
    caplog.clear()
    assert {source.split("/")[0] for source in images_of(load(tmp_path / "other", tmp_path))} == {"train"}
    assert "the test images have no labels and are not used" in caplog.text
    table(20, label=[0, 1, -1, -1] * 5).to_parquet(tmp_path / "some.parquet")
    with pytest.raises(InputError, match=r"row 2 of the data set has no label \(nor do 9 other rows\)"):
        load(tmp_path / "some.parquet", tmp_path)


@pytest.mark.parametrize("what", ["nowhere", "no match", "text", "empty folder", "no train split"])
def test_what_cannot_be_loaded_is_one_line(tmp_path, what):
    (tmp_path / "text.parquet").write_text("text")
    (tmp_path / "empty").mkdir()
    datasets.DatasetDict(test=table(4), other=table(4)).save_to_disk(tmp_path / "pets")
    paths = {"nowhere": "nowhere", "no match": "*.nothing", "text": "text.parquet", "empty folder": "empty"}
    path = tmp_path / paths.get(what, "pets")
    with pytest.raises(InputError, match=r"^data\.path: ") as caught:
        load(path, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_data_set_that_needs_a_script_is_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("Dataset scripts are no longer supported, but found pets.py")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(InputError, match=r"^data\.path: someone/pets cannot be loaded \(Dataset scripts are no longer"):
        load("someone/pets", tmp_path)


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"run \.venv/bin/python scripts/setup_venv\.py --extra datasets$"):
        load(tmp_path, tmp_path)
