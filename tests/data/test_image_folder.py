"""``data=folder``: which files of a folder are images of which class and split, and what is refused."""

import os
import unicodedata

import numpy as np
import pytest
from image_files import camera_exif
from image_folders import load_folder, pixels, write_classes, write_image
from PIL import Image

from fashion.data.dataset import SkippedFile
from fashion.data.image_files import natural_key, scan_folder, slug
from fashion.data.image_rows import ImageRows
from fashion.errors import InputError
from fashion.preprocessing.prepare import read


@pytest.fixture
def pets(tmp_path):
    return write_classes(tmp_path / "My pets", {"cat": 10, "dog": 15, "class 10": 5, "class 2": 5})


def all_images(data):
    splits = (data.train, data.validation, data.test)
    return {source: split.images[at] for split in splits for at, source in enumerate(split.sources.tolist())}


def test_class_folders_become_a_data_set_in_natural_order(pets):
    data = load_folder(pets)
    assert (data.name, data.title) == ("my_pets", "My pets")
    assert data.classes == ("cat", "class 2", "class 10", "dog")
    assert data.image_shape == (28, 28, 3)
    assert [len(data.train), len(data.validation), len(data.test)] == [22, 6, 7]
    for split in (data.train, data.validation, data.test):
        assert isinstance(split.images, ImageRows)
        assert [data.classes[label] for label in split.labels] == [each.split("/")[0] for each in split.sources]
        assert split.sources.tolist() == sorted(split.sources.tolist(), key=lambda each: each.split("/")[::-1])


def test_pixels_are_those_of_the_files(pets):
    images = all_images(load_folder(pets))
    assert np.array_equal(images["cat/3.png"], pixels(3))
    assert np.array_equal(images["dog/0.png"], pixels(10))


def test_training_and_serving_see_the_same_pixels(tmp_path):
    kinds = [("a.jpg", {"quality": 90}), ("b.jpg", {"exif": camera_exif(6)}), ("c.webp", {}), ("d.png", {})]
    for number, (name, options) in enumerate([*kinds, *kinds, *kinds]):
        image = Image.fromarray(pixels(number, 9)).resize((200 + 50 * number, 300), Image.Resampling.BICUBIC)
        (tmp_path / "x" / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "x" / f"{number % 2}" / f"{number}{name}", **options)
    data = load_folder(tmp_path / "x", fit="crop")
    images = all_images(data)
    assert len(images) == 12
    for source, image in images.items():
        assert np.array_equal(image, read(tmp_path / "x" / source, data.input).pixels)


def test_the_statistics_are_those_of_the_images_that_are_not_for_test(pets):
    data = load_folder(pets)
    own = np.concatenate([data.train.images[:], data.validation.images[:]]) / 255
    assert data.pixels.mean == pytest.approx(own.mean((0, 1, 2)), abs=1e-4)
    assert data.pixels.deviation == pytest.approx(own.std((0, 1, 2)), abs=1e-4)
    assert load_folder(pets, seed=3).pixels == data.pixels


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Train", "val", "TEST"), ("training", "valid")])
def test_split_folders_give_the_splits(tmp_path, names):
    for number, name in enumerate(names):
        write_classes(tmp_path / "pets" / name, {"cat": 6 - number, "dog": 6 - number}, 100 * number)
    data = load_folder(tmp_path / "pets")
    assert data.classes == ("cat", "dog")
    assert {each.split("/")[0] for each in data.train.sources} == {names[0]}
    assert {each.split("/")[0] for each in data.validation.sources} == {names[1]}
    if len(names) > 2:
        assert [len(data.train), len(data.validation), len(data.test)] == [12, 10, 8]
    else:
        assert {each.split("/")[0] for each in data.test.sources} == {"training"}
        assert len(data.train) + len(data.test) == 12


def test_a_class_may_be_called_train(tmp_path):
    write_classes(tmp_path / "vehicles", {"bus": 5, "train": 5})
    assert load_folder(tmp_path / "vehicles").classes == ("bus", "train")


def test_a_stray_image_beside_class_folders_does_not_make_train_a_class(tmp_path, caplog):
    for name in ("train", "test"):
        write_classes(tmp_path / "pets" / name, {"cat": 5, "dog": 5}, 100 * len(name))
    write_image(tmp_path / "pets" / "train" / "overview.png", 0)
    data = load_folder(tmp_path / "pets")
    assert data.classes == ("cat", "dog")
    assert data.drawn == ("validation",)
    assert "pets/train: ignored 1 image outside the class folders" in caplog.text


def test_a_class_that_a_limit_leaves_out_is_named(tmp_path):
    write_classes(tmp_path / "pets", {"cat": 40, "dog": 40, "fish": 3})
    assert load_folder(tmp_path / "pets").drawn == ("test", "validation")
    with pytest.raises(InputError, match=r"data\.limit: the 10 training images include none of fish; raise it"):
        load_folder(tmp_path / "pets", limit=10)


def test_a_folder_that_cannot_be_entered_is_one_line(pets, monkeypatch):
    def denied(path, **named):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("fashion.data.image_files.os.stat", denied)
    with pytest.raises(InputError, match=r"data\.root: the folder .*/cat cannot be read \(Permission denied\)"):
        scan_folder(pets)


def test_given_splits_warn_of_classes_that_they_lack(tmp_path, caplog):
    write_classes(tmp_path / "pets" / "train", {"cat": 5, "dog": 5})
    write_classes(tmp_path / "pets" / "test", {"cat": 5}, 100)
    load_folder(tmp_path / "pets")
    assert "has no test image of dog" in caplog.text


def test_what_is_hidden_or_no_image_is_ignored(pets):
    before = scan_folder(pets)
    (pets / ".git").mkdir()
    (pets / "__MACOSX").mkdir()
    write_image(pets / "cat" / "._1.png", 900)
    write_image(pets / ".thumbnails" / "1.png", 901)
    (pets / "cat" / "Thumbs.db").write_bytes(b"")
    (pets / "notes.txt").write_text("")
    assert scan_folder(pets) == before


def test_links_are_followed_but_not_around_a_loop(pets, caplog):
    write_image(pets.parent / "elsewhere" / "deep" / "new.png", 500)
    (pets / "cat" / "more").symlink_to(pets.parent / "elsewhere")
    (pets / "cat" / "loop").symlink_to(pets / "cat")
    (pets / "dog" / "itself").symlink_to("itself")
    files = scan_folder(pets)
    assert len(files) == 36
    assert "cat/more/deep/new.png" in {file.source for file in files}
    assert "links to a folder that contains it" in caplog.text


def test_class_names_in_other_letters_and_other_cases(tmp_path, caplog):
    for form in ("NFC", "NFD"):  # as Linux and macOS write it
        write_classes(tmp_path / "x" / unicodedata.normalize(form, "Käse"), {"": 4}, len(form) + ord(form[2]))
    write_classes(tmp_path / "x", {"日本": 4, "A": 4, "a": 4}, 200)
    data = load_folder(tmp_path / "x")
    assert data.classes == ("A", "a", "Käse", "日本")
    assert "differ only in case: A, a" in caplog.text
    assert (data.train.labels == 2).sum() + (data.validation.labels == 2).sum() + (data.test.labels == 2).sum() == 8


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "has no folders, expected one for each class"),
        ({"1.png": 1}, "has no folders, expected one for each class"),
        ({"cat/1.png": 1}, "the data has one class, cat; expected two or more"),
        ({"cat/1.png": 1, "a\nb/1.png": 2}, r"the class 'a\\nb' needs another name: text without control characters"),
        ({"cat/1.png": 1, "a\udcff/1.png": 2}, r"the class 'a\\udcff' needs another name"),
        ({"cat/1.png": 1, "dog/": 0}, "has no image in dog; each folder is a class"),
        ({"train/cat/1.png": 1, "masks/1.png": 1}, "has the folders train and also masks"),
        ({"train/cat/1.png": 1, "test/dog/1.png": 2}, "has no training image of dog"),
        ({"cat/1.png": 1, "cat/2.png": 2, "dog/1.png": 3}, "too few images of dog to divide them"),
    ],
)
def test_folders_that_are_no_data_set_are_refused_in_one_line(tmp_path, names, message):
    root = tmp_path / "root"
    root.mkdir()
    for name, seed in names.items():
        write_image(root / name, seed) if seed else (root / name).mkdir()
    with pytest.raises(InputError, match=message):
        load_folder(root)


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.root: there is no folder .*nowhere"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a folder"):
        load_folder(write_image(tmp_path / "1.png", 0))


@pytest.fixture
def damaged(pets):
    (pets / "cat" / "text.jpg").write_text("not an image")
    (pets / "dog" / "animated.gif").write_bytes(b"GIF89a")
    (pets / "dog" / "broken.png").symlink_to("nowhere.png")
    (pets / "dog" / "half.png").write_bytes((pets / "dog" / "1.png").read_bytes()[:300])
    os.mkfifo(pets / "dog" / "pipe.png")
    write_image(pets / "dog" / os.fsdecode(b"\xff.png"), 400)
    return pets


def test_files_that_cannot_be_read_are_refused_by_name(damaged):
    with pytest.raises(InputError) as caught:
        load_folder(damaged)
    assert str(caught.value).startswith("dog/animated.gif: is a GIF image; send PNG")
    assert str(caught.value).endswith("(and 5 other files); repair or remove such files, or set data.on_bad_image=skip")


def test_files_that_cannot_be_read_are_skipped_and_listed(damaged, caplog):
    data = load_folder(damaged, on_bad_image="skip")
    reasons = {os.path.basename(file.source): file.reason for file in data.skipped}
    assert len(reasons) == 6
    assert reasons["text.jpg"].startswith("is not an image")
    assert reasons["broken.png"] == "there is no such file"
    assert reasons["half.png"].startswith("is damaged")
    assert reasons["pipe.png"] == "is not a file"
    assert reasons[os.fsdecode(b"\xff.png")] == "has a name that is not UTF-8; rename it"
    assert isinstance(data.skipped[0], SkippedFile)
    assert len(data.train) + len(data.validation) + len(data.test) == 35
    assert "skipped 6 of 41 files, which cannot be read" in caplog.text
    assert load_folder(damaged, on_bad_image="skip").skipped == data.skipped


def test_a_class_without_a_readable_image_is_refused(pets):
    (pets / "fish").mkdir()
    (pets / "fish" / "1.jpg").write_text("")
    with pytest.raises(InputError, match="has no training image of fish"):
        load_folder(pets, on_bad_image="skip")


def test_a_large_folder_is_scanned_in_the_order_of_file_names(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        for number in range(500):
            (tmp_path / name / f"{number:03d}.JPG").touch()
    sources = [file.source for file in scan_folder(tmp_path)]
    assert sources == [f"{name}/{number:03d}.JPG" for number in range(500) for name in "ab"]


def test_grey_images(pets):
    data = load_folder(pets, color_mode="grayscale")
    expected = np.asarray(Image.fromarray(pixels(3)).convert("L"))
    assert np.array_equal(all_images(data)["cat/3.png"][..., 0], expected)
    assert len(data.pixels.mean) == 1


def test_natural_order_and_slugs():
    assert sorted(["b10", "B2", "10", "9a", "", "é"], key=natural_key) == ["", "9a", "10", "B2", "b10", "é"]
    assert sorted(["a" + "1" * 5000, "a02", "a1", "a0", "a"], key=natural_key)[:4] == ["a", "a0", "a1", "a02"]
    assert [slug(name) for name in ("Käse & Brot", "日本", "a.b")] == ["kase_brot", "images", "a_b"]
