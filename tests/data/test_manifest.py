"""``data=manifest``: a table of image files."""

import sys

import numpy as np
import pytest
from image_folders import load_manifest, pixels, write_classes

from fashion.data.manifest import read_manifest
from fashion.errors import InputError


@pytest.fixture
def table(tmp_path):
    """Write a table beside 20 images, and return its path."""
    write_classes(tmp_path / "photos" / "x", {"a": 10, "b": 10})

    def write(text, name="labels.csv", encoding="utf-8"):
        path = tmp_path / "photos" / name
        path.write_text(text, encoding=encoding)
        return path

    return write


ROWS = [(f"x/{folder}/{number}.png", f"class {folder}") for folder in "ab" for number in range(10)]
CSV = "path,label\n" + "".join(f"{path},{label}\n" for path, label in ROWS)


def test_rows_become_a_data_set_in_their_order(table):
    data = load_manifest(table(CSV))
    assert (data.name, data.title, data.classes) == ("photos", "photos", ("class a", "class b"))
    assert set(data.digests) == {"labels.csv", "images"}
    assert [len(data.train), len(data.validation), len(data.test)] == [13, 3, 4]
    assert np.array_equal(data.train.images[0], pixels(int(data.train.sources[0].split("/")[2][0])))
    places = [source for source, _ in ROWS]
    assert [places.index(source) for source in data.train.sources] == sorted(map(places.index, data.train.sources))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_other_columns_quotes_spaces_and_a_byte_order_mark(table, encoding):
    files = read_manifest(table('label,width,path\n"Käse, alt",1, x/a/1.png \r\nb,2,./x//b/1.png\n', encoding=encoding))
    assert [(file.source, file.label) for file in files] == [("x/a/1.png", "Käse, alt"), ("x/b/1.png", "b")]


def test_case_and_spaces_of_column_names_do_not_matter(table):
    files = read_manifest(table("Path, LABEL , Split\nx/a/1.png,a,test\nx/b/1.png,b,train\n"))
    assert [(file.source, file.label, file.split) for file in files] == [
        ("x/a/1.png", "a", "test"),
        ("x/b/1.png", "b", "train"),
    ]


def test_a_missing_quotation_mark_is_warned_of(table, caplog):
    """The value goes on to the next quotation mark, and the rows between are lost."""
    text = 'path,label,note\nx/a/1.png,a,"big\nx/a/2.png,a,\nx/b/1.png,b,3" wide\nx/b/2.png,b,\n'
    assert [file.source for file in read_manifest(table(text))] == ["x/a/1.png", "x/b/2.png"]
    assert "labels.csv, line 4: a value has several lines; if a quotation mark is missing" in caplog.text


def test_a_column_gives_the_splits(table):
    splits = ["train", "Train", "val", "TEST", "training", "valid", "validation", "test", "train", "train"]
    rows = [f"{path},{label},{splits[number % 10]}\n" for number, (path, label) in enumerate(ROWS)]
    data = load_manifest(table("path,label,split\n" + "".join(rows)))
    assert [len(data.train), len(data.validation), len(data.test)] == [10, 6, 4]
    assert data.test.sources.tolist() == ["x/a/3.png", "x/a/7.png", "x/b/3.png", "x/b/7.png"]


def test_a_parquet_file_is_read_like_a_csv_file(table, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "photos" / "labels.parquet"
    columns = {"path": [path for path, _ in ROWS], "label": [int(label == "class b") for _, label in ROWS]}
    parquet.write_table(pyarrow.table({**columns, "other": [None] * 20}), path)
    files = read_manifest(path)
    assert [file.source for file in files] == [path for path, _ in ROWS]
    assert load_manifest(path).classes == ("0", "1")
    parquet.write_table(pyarrow.table({"file": ["x"]}), path)
    with pytest.raises(InputError, match=r"has no column path and no column label; .* got file"):
        read_manifest(path)
    path.write_text("path,label")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_manifest(path)


def test_without_pyarrow_a_parquet_file_says_what_to_install(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"to read it, run .*--extra datasets"):
        read_manifest(table("", "labels.parquet"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,class\nx/a/1.png,a\n",
            "has no column label; expected path, label and, .*; got path, class",
        ),
        ("path,label,Label\nx/a/1.png,a,b\n", "has two columns called label; expected one"),
        ("", "has no column path and no column label; .* got none"),
        ("path,label\n", "lists no images"),
        ("path,label\n../y.png,a\n", r"labels\.csv, line 2: \.\./y\.png is outside the table's folder"),
        ("path,label\nx/a/1.png,a\nx/../../y.png,a\n", r"line 3: .* is outside the table's folder"),
        ("path,label\n/etc/passwd,a\n", "line 2: /etc/passwd is outside the table's folder"),
        ("path,label\nx/a/1.png\n", "line 2: the column label is empty"),
        ("path,label\n,a\n", "line 2: the column path is empty"),
        ("path,label\nx/a/1.png,a\n./x/a/1.png,b\n", r"line 3: x/a/1\.png is already listed in line 2"),
        ("path,label,split\nx/a/1.png,a,dev\n", "line 2: got 'dev' as the split, expected train, validation or test"),
        ("path,label\nx/a/1.png,a\n", "the data has one class, a"),
        ("path,label\nx/a/1.png,a\nx/b/77.png,b\n", r"x/b/77\.png: there is no such file; repair or remove"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(table, text, message):
    with pytest.raises(InputError, match=message):
        load_manifest(table(text))


def test_files_that_are_no_tables_are_refused(table, tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        load_manifest(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is not a CSV file in UTF-8"):
        load_manifest(table("path,label\nk\xe4se,a\n", encoding="latin-1"))
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        load_manifest(tmp_path / "photos" / "x")


def test_a_row_with_a_comma_too_many_is_refused(table):
    with pytest.raises(InputError, match=r"line 3: has more values than there are columns; quote values that contain"):
        read_manifest(table("path,label\nx/a/1.png,a\nx/b/1,5.png,b\n"))


def test_a_path_that_no_file_can_have_is_one_that_cannot_be_read(table):
    with pytest.raises(InputError, match=r"^x/\\x1b\[31m\\x00\.png: has a name that no file can have"):
        load_manifest(table(CSV + "x/\x1b[31m\0.png,class a\n"))
