"""The table of accuracies, for a classifier whose predictions are known."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fashion.evaluation.corruptions import CORRUPTIONS, corrupt
from fashion.evaluation.robustness import draw_heat_map, draw_samples, robustness, write_table

LABELS = np.arange(120) % 2


def images() -> np.ndarray:
    """Class 0: light in the upper half; class 1: in the lower half."""
    made = np.zeros((len(LABELS), 28, 28, 1), np.uint8)
    made[LABELS == 0, 3:11, 3:25] = 220
    made[LABELS == 1, 17:25, 3:25] = 220
    return made


def predict(batch: np.ndarray) -> np.ndarray:
    upper, lower = (batch[:, half].sum(axis=(1, 2, 3), dtype=float) for half in (slice(14), slice(14, None)))
    return np.stack([upper, lower], axis=1) / (upper + lower)[:, None]


@pytest.fixture(scope="module")
def measured():
    return robustness(predict, images(), LABELS, seed=5)


def test_known_accuracies(measured):
    assert measured.clean_accuracy == 1.0
    assert measured.accuracy["brightness"] == [1.0] * 5
    # Left-right mirrored it is the same; upside down, either way, it is the other class.
    assert measured.accuracy["turn"][:3] == [1.0, 0.0, 0.0]
    assert measured.accuracy["inversion"][0] == 1.0
    assert measured.accuracy["inversion"][3:] == [0.0, 0.0]


def test_parts_of_any_size_give_the_same(measured, monkeypatch):
    monkeypatch.setattr("fashion.evaluation.robustness.PART_BYTES", 37 * 28 * 28)
    assert robustness(predict, images(), LABELS, seed=5).accuracy == measured.accuracy


def test_the_mean_is_over_all_cells(measured):
    cells = [share for row in measured.accuracy.values() for share in row]
    assert len(cells) == 75
    assert measured.mean_corruption_accuracy == pytest.approx(sum(cells) / 75)


def test_a_cell_is_the_accuracy_on_the_corrupted_images(measured):
    right = predict(corrupt(images(), "occlusion", 5, seed=5)).argmax(axis=1) == LABELS
    assert measured.accuracy["occlusion"][4] == right.mean()


def test_a_rerun_is_identical_to_the_byte(measured, tmp_path):
    for name, result in (("first", measured), ("second", robustness(predict, images(), LABELS, seed=5))):
        write_table(result, tmp_path / f"{name}.csv")
        draw_heat_map(result, tmp_path / f"{name}.png")
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_the_table_has_a_row_for_each_cell(measured, tmp_path):
    write_table(measured, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 76
    jpeg = [row for row in rows if row["corruption"] == "jpeg"]
    assert [int(row["strength"]) for row in jpeg] == list(CORRUPTIONS["jpeg"].strengths)
    assert [float(row["accuracy"]) for row in jpeg] == measured.accuracy["jpeg"]


def test_the_heat_map_is_dark_where_the_accuracy_is(measured, tmp_path):
    for share in (0.0, 1.0):
        uniform = replace(measured, accuracy={name: [share] * 5 for name in CORRUPTIONS})
        draw_heat_map(uniform, tmp_path / f"{share}.png")
    none, all_right = (np.asarray(Image.open(tmp_path / f"{share}.png").convert("L")) for share in (0.0, 1.0))
    assert np.mean(all_right < 100) > 0.4
    assert np.mean(none < 100) < 0.1


def test_the_sample_sheet_is_drawn(tmp_path):
    draw_samples(images()[0], 0, tmp_path / "samples.png")
    assert np.asarray(Image.open(tmp_path / "samples.png").convert("L")).std() > 30


def test_large_colour_images_have_a_sample_sheet_in_colour(tmp_path):
    image = np.zeros((140, 120, 3), np.uint8)
    image[..., 0] = 230
    draw_samples(image, 0, tmp_path / "samples.png")
    red, green, _ = np.asarray(Image.open(tmp_path / "samples.png").convert("RGB")).astype(int).transpose(2, 0, 1)
    assert np.mean(red - green > 100) > 0.2
