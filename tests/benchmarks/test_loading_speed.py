"""The benchmark of loading reads a folder in turns."""

import json

import pytest

from fashion.benchmarks import loading_speed
from fashion.benchmarks.loading_speed import measured_turn
from fashion.data.image_files import scan_folder
from fashion.errors import InputError
from fashion.paths import PROJECT


@pytest.fixture
def generated(tmp_path):
    loading_speed.generate(tmp_path / "generated", 130, 32)
    return tmp_path / "generated"


def test_generated_images_are_different_and_kept(generated):
    contents = {path: path.read_bytes() for path in generated.rglob("*.jpg")}
    assert len(scan_folder(generated)) == len(set(contents.values())) == 130
    loading_speed.generate(generated, 131, 32)
    assert {path: path.read_bytes() for path in contents} == contents
    assert len(scan_folder(generated)) == 131


def test_a_turn_reads_every_file_and_trains_an_epoch(generated, tmp_path, monkeypatch):
    monkeypatch.setattr(loading_speed, "CONTENDERS", ("store",))
    monkeypatch.setattr(
        loading_speed,
        "_in_process",
        lambda name, root, size, backend: measured_turn(loading_speed.store, root, size, tmp_path / "cache"),
    )
    result = loading_speed.measure(generated, 32, rounds=1, backend="jax")
    (turn,) = result["turns"]["store"]
    assert result["files"] == turn["files"] == 130
    assert 0 < turn["start"] < turn["first_pass"]
    row = loading_speed.table(result).splitlines()[-1]
    assert row.startswith(f"| data=folder | {130 / turn['first_pass']:,.0f} files/s")
    assert f"{turn['epoch']:.2f} s ({130 / turn['epoch']:,.0f} images/s)" in row


@pytest.mark.process
def test_a_turn_that_fails_stops_the_benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(loading_speed, "scan_folder", lambda root: [])
    monkeypatch.setattr(loading_speed, "CONTENDERS", ("nothing",))
    monkeypatch.setattr(loading_speed, "NAMES", {"nothing": "a contender that does not exist"})
    with pytest.raises(InputError, match="a contender that does not exist failed with exit status 1"):
        loading_speed.measure(tmp_path, 32, rounds=1, backend="jax")


def test_the_docs_show_the_stored_results():
    for result in json.loads((PROJECT / "results" / "benchmark_loading.json").read_text())["rows"]:
        assert loading_speed.table(result) in (PROJECT / "docs" / "benchmarks.md").read_text()
