"""The recipe and the program of Keras's guide train on the same photos; docs/benchmarks.md shows what was measured."""

import contextlib
import json
import sys
import warnings

import keras
import numpy as np
import pytest
from image_folders import load_folder, write_classes

from fashion.artifact import verify
from fashion.benchmarks import transfer_guide, transfer_speed
from fashion.benchmarks.serving_speed import form_request
from fashion.benchmarks.transfer_speed import GuideEpoch, ProjectTurn
from fashion.errors import InputError
from fashion.models import efficientnet_lite
from fashion.paths import PROJECT

RESULT = json.loads((PROJECT / "results" / "benchmark_transfer.json").read_text())
SPLIT = {"train": 12, "test": 4}


def guide_epoch(epoch: int, accuracy: float, seconds: float, fine_tuning: bool = False) -> GuideEpoch:
    return GuideEpoch(epoch=epoch, fine_tuning=fine_tuning, accuracy=accuracy, seconds=seconds)


def project_turn(accuracy: float, seconds: float) -> ProjectTurn:
    return ProjectTurn(fitted=seconds - 1, seconds=seconds, accuracy=accuracy, served_ms=9.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with given splits, its data set, and the same photos linked for Keras's loader."""
    root = tmp_path_factory.mktemp("photos") / "root"
    for number, (split, count) in enumerate({"train": 4, "validation": 2, "test": 2}.items()):
        write_classes(root / split, {"cat": count, "dog": count}, first_seed=100 * number)
    data = load_folder(root)
    transfer_speed.link_photos(root, data, root.parent / "linked")
    return root, data, root.parent / "linked"


def program_that_prints(monkeypatch, *lines: object, then: str = "") -> None:
    """Replace the guide's program by one that prints lines of JSON."""
    code = "".join(f"print({json.dumps(line)!r}, flush=True)\n" for line in lines)
    monkeypatch.setattr(transfer_speed, "GUIDE_PROGRAM", ("-c", code + then))


def test_keras_reads_the_photos_of_the_recipe(photos):
    root, _, linked = photos
    found = sorted(path.resolve().relative_to(root).as_posix() for path in (linked / "train").glob("*/*"))
    assert found == sorted(
        f"{split}/{name}/{number}.png"
        for split, count in (("train", 4), ("validation", 2))
        for name in ("cat", "dog")
        for number in range(count)
    )
    assert {path.resolve().parent.name for path in (linked / "test" / "0001").iterdir()} == {"dog"}


@pytest.mark.process
def test_the_recipe_is_trained_and_served(photos, keras_backend, tmp_path, monkeypatch):
    root, data, _ = photos
    served = []

    @contextlib.contextmanager
    def running(name, artifact, folder):
        served.append((name, verify(artifact)[1].data.counts))
        yield 80

    monkeypatch.setattr(transfer_speed, "running", running)
    monkeypatch.setattr(
        transfer_speed, "run_clients", lambda port, clients, seconds, request: {"p50_ms": clients * 7.0, "errors": 0}
    )
    network = ("data.image_size=28", "model=cnn", "model.widths=[4]", "model.dense_units=[]")
    recipe = ("experiment=transfer", *network, f"trainer.backend={keras_backend}")
    turn = transfer_speed._train(root, tmp_path, recipe, 0, root / data.test.sources[0])
    assert served == [("this", {"train": 8, "validation": 4, "test": 4})]
    assert 0 < turn["fitted"] < turn["seconds"]
    assert 4 * turn["accuracy"] in range(5)
    assert turn["served_ms"] == 7.0


def small_backbone(shape: tuple[int, int, int]) -> keras.Model:
    images = keras.Input(shape)
    x = keras.layers.Conv2D(4, 3, strides=4, name="convolution")(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(name="pool")(x))


@pytest.mark.backend
def test_the_guides_program_trains_its_last_layer_and_then_the_whole_network(photos, keras_backend, monkeypatch):
    if keras_backend != "tensorflow":
        pytest.skip("Keras reads the photos with TensorFlow, which a process on JAX does not import")
    _, _, linked = photos
    backbones = []
    monkeypatch.setattr(
        efficientnet_lite, "backbone", lambda shape: backbones.append(small_backbone(shape)) or backbones[0]
    )
    weights = []
    monkeypatch.setattr(
        transfer_guide,
        "_report",
        lambda **line: weights.append((line, backbones and backbones[0].get_layer("convolution").get_weights()[0])),
    )
    monkeypatch.setattr(sys, "argv", ["guide", str(linked), "32", "2", "1", "0"])
    with warnings.catch_warnings(action="ignore"):  # Keras warns of what its guide does
        transfer_guide.main()
    (split, _), *epochs = weights
    assert split == {"split": SPLIT}
    assert [(line["epoch"], line["fine_tuning"]) for line, _ in epochs] == [(1, False), (2, False), (1, True)]
    assert all(4 * line["accuracy"] in range(5) for line, _ in epochs)
    (_, first), (_, frozen), (_, fine_tuned) = epochs
    assert np.array_equal(first, frozen)
    assert not np.array_equal(frozen, fine_tuned)


@pytest.mark.process
def test_a_turn_of_the_guide_ends_where_the_accuracy_is_reached(photos, monkeypatch):
    _, data, linked = photos
    lines = [{"epoch": number, "fine_tuning": False, "accuracy": number / 4} for number in (1, 2)]
    program_that_prints(monkeypatch, {"split": SPLIT}, *lines, then="import time; time.sleep(600)")
    epochs = transfer_speed._run_guide(linked, (), data, target=0.5)
    assert [epoch["accuracy"] for epoch in epochs] == [0.25, 0.5]


@pytest.mark.process
def test_a_turn_that_fails_stops_the_benchmark(photos, monkeypatch):
    _, data, linked = photos
    epoch = {"epoch": 1, "fine_tuning": False, "accuracy": 0.25}
    program_that_prints(monkeypatch, {"split": SPLIT}, epoch, then="raise SystemExit(3)")
    with pytest.raises(InputError, match="Keras's guide failed with exit status 3; the reason is above"):
        transfer_speed._run_guide(linked, (), data, target=0.5)
    program_that_prints(monkeypatch, {"split": {"train": 11, "test": 4}}, epoch)
    with pytest.raises(
        InputError, match=r"read \{'train': 11, 'test': 4\} photos, expected \{'train': 12, 'test': 4\}"
    ):
        transfer_speed._run_guide(linked, (), data, target=0.5)


def test_a_photo_is_uploaded_as_a_whole_request():
    head, _, body = form_request(b"the content", "a.jpg").partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\nthe content\r\n--XX--' in body


def test_seconds_are_those_of_the_first_epoch_that_reaches_the_accuracy():
    epochs = [guide_epoch(1, 0.7, 50), guide_epoch(2, 0.86, 80), guide_epoch(3, 0.84, 110), guide_epoch(4, 0.9, 140)]
    assert [transfer_speed.seconds_to(share, epochs) for share in (0.6, 0.86, 0.87, 0.91)] == [
        50,
        80,
        140,
        float("inf"),
    ]


def test_the_rounds_are_compared_one_by_one():
    guide = [guide_epoch(1, 0.7, 50), guide_epoch(2, 0.86, 80)]
    slower = [guide_epoch(1, 0.8, 100), guide_epoch(2, 0.87, 160)]
    result = RESULT | {
        "accuracy": 0.85,
        "project": [project_turn(0.86, 20), project_turn(0.88, 40)],
        "guide": [guide, slower],
    }
    assert transfer_speed.times_as_long(result, 0.85) == (4.0, False)
    assert transfer_speed.times_as_long(result, None) == (4.0, True)
    assert transfer_speed.times_as_long(result | {"guide": [slower, guide]}, 0.75) == (3.5, False)
    rows = transfer_speed.table(result).splitlines()
    assert rows[4].split() == ["experiment=transfer,", "whole", "command", "87.00", "%", "30", "s", "30", "s"]
    assert rows[6].endswith("120 s               never")
    assert "takes 4.0 times as long as the whole command to 85 %, more than 4.0 times to equal accuracy" in rows[-2]


def test_the_docs_show_the_committed_result():
    assert transfer_speed.table(RESULT) in (PROJECT / "docs" / "benchmarks.md").read_text()


def test_the_chart_is_written(tmp_path):
    transfer_speed.chart(RESULT, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 10_000


@pytest.mark.parametrize("share", ["0", "1.5", "much"])
def test_an_accuracy_that_is_not_a_share_is_refused(run_command, tmp_path, share):
    finished = run_command("benchmark.py", "transfer", tmp_path, "--accuracy", share)
    assert finished.returncode == 2
    expected = f"error: argument --accuracy: got '{share}', expected a number above 0, at most 1; see --help\n"
    assert finished.stderr == expected
