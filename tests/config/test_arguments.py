"""The command line: flags anywhere, folders from where the user is, and characters that Hydra's grammar lacks."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from fashion.config.arguments import normalise, quote_unreadable
from fashion.config.override_text import quote_path, unquote_path
from fashion.errors import FashionError


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model=cnn", "-m", "optimizer=adam,sgd"], ["model=cnn", "optimizer=adam,sgd", "--multirun"]),
        (["a=1", "--cfg", "job", "b=2", "-p", "trainer", "--resolve", "c=3"],
         ["a=1", "b=2", "c=3", "--cfg=job", "--resolve", "--package=trainer"]),
        (["-cn", "mine", "a=1"], ["a=1", "--config-name=mine"]),
        (["a=1", "--info"], ["a=1", "--info=all"]),
        (["--help"], ["--help"]),
        (["-sc", "query=bash"], ["query=bash", "--shell-completion"]),
        (["-cp", "pkg://some.module", "a=-1"], ["a=-1", "--config-path=pkg://some.module"]),
    ],
)  # fmt: skip
def test_flags_may_be_anywhere(arguments, expected):
    assert normalise(arguments) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize("arguments", [["--epochs", "3"], ["model=cnn", "--cfg", "nosuch"], ["--config-dir"]])
def test_a_wrong_flag_is_one_line(arguments):
    with pytest.raises(FashionError, match=r"--\w+.*; see --help"):
        normalise(arguments)


def test_folders_of_configuration_files_are_found_from_where_the_user_is(tmp_path, monkeypatch):
    folder = tmp_path / "it's mine"
    (tmp_path / "ü").mkdir()
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    assert normalise(["--config-dir", folder.name, "-cp", "."]) == [
        f"--config-path={tmp_path}",
        f"--config-dir={folder}",
    ]
    (override,) = normalise(["hydra.searchpath=[\"it's mine\",'file://.',pkg://some.module]"])
    assert OverridesParser.create().parse_override(override).value() == [
        str(folder),
        str(tmp_path),
        "pkg://some.module",
    ]
    assert normalise([override]) == [override]
    assert normalise(["hydra.searchpath=[ü]"]) == [f"hydra.searchpath=['{tmp_path}/ü']"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.root=photos", "data.root={here}/photos"),
        ("data.root=../a b/ü", "data.root={here}/../a b/ü"),
        ("data.file=labels.csv", "data.file={here}/labels.csv"),
        ("data.root=/photos", "data.root=/photos"),
        ("data.root=~/photos", "data.root=~/photos"),
        ("data.root=a,b", "data.root=a,b"),
        ("data.root=${oc.env:HOME}", "data.root=${oc.env:HOME}"),
        ("data.root=", "data.root="),
        ("model.root=photos", "model.root=photos"),
    ],
)
def test_places_of_data_are_found_from_where_the_user_is(tmp_path, monkeypatch, override, expected):
    monkeypatch.chdir(tmp_path)
    assert normalise([override]) == [expected.replace("{here}", str(tmp_path))]


@pytest.mark.parametrize("name", ["fashion (1)", "a,b", "[x]", "~a", "it's", "a{b}", "back\\slash", "both\\'", "end\\"])
def test_a_place_is_found_in_a_folder_of_any_name(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    (override,) = normalise(["data.root=photos"])
    assert OverridesParser.create().parse_override(quote_unreadable(override)).value() == str(
        tmp_path / name / "photos"
    )
    assert normalise([override]) == [override]
    assert unquote_path(quote_path(name)) == name


def test_a_name_on_the_hub_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets.parquet").touch()
    assert normalise(["data.path=ylecun/mnist"]) == ["data.path=ylecun/mnist"]
    assert normalise(["data.path=pets.parquet"]) == [f"data.path={tmp_path}/pets.parquet"]
    assert normalise(["data.path=*.parquet"]) == [f"data.path={tmp_path}/*.parquet"]


def test_the_name_of_published_weights_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "own.pth").touch()
    assert normalise(["model.weights=imagenet"]) == ["model.weights=imagenet"]
    assert normalise(["model.weights=own.pth"]) == [f"model.weights={tmp_path}/own.pth"]


@pytest.mark.parametrize("argument", ["--config-dir=nosuch", "--config-path=nosuch", "hydra.searchpath=[nosuch]"])
def test_a_folder_of_configuration_files_that_does_not_exist_is_refused(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FashionError, match=f"got nosuch, but there is no folder {tmp_path}/nosuch"):
        normalise([argument])


@pytest.mark.parametrize("argument", ["--config-dir=", "--config-path=", "--config-dir= ", "hydra.searchpath=['']"])
def test_an_empty_folder_of_configuration_files_is_refused(argument):
    with pytest.raises(FashionError, match="got nothing, expected a folder of configuration files"):
        normalise([argument])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.root=/tmp/数据", "data.root='/tmp/数据'"),
        ("data.root=/tmp/ü b/c", "data.root='/tmp/ü b/c'"),
        ("a=[ä, b,1]", "a=['ä', b,1]"),
        ("a=ä,b", "a='ä',b"),
        ("url=sqlite:////tmp/ü//b", "url='sqlite:////tmp/ü//b'"),
        ("a=x#1", "a='x#1'"),
        ("a='ü'", "a='ü'"),
        ("a=${b}/ü", "a=${b}/ü"),
        ("a=choice(ü,b)", "a=choice(ü,b)"),
        ("a=/tmp/x-1_2.3@4", "a=/tmp/x-1_2.3@4"),
        ("~a", "~a"),
        ("--config-dir=/ü", "--config-dir=/ü"),
    ],
)
def test_characters_that_the_grammar_lacks_are_quoted(override, expected):
    assert quote_unreadable(override) == expected
    assert quote_unreadable(expected) == expected


@given(st.text(st.characters(exclude_characters="[](){},'\"\\~", exclude_categories=("C", "Z"))))
def test_a_value_in_any_script_is_what_hydra_reads(text):
    value = f"x{text}\N{LATIN SMALL LETTER U WITH DIAERESIS}"
    assert OverridesParser.create().parse_override(quote_unreadable(f"key={value}")).value() == value
