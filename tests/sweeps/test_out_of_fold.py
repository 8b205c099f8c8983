"""Known answers: the folds of cross-validation in a sweep's folder written by hand, gathered."""

import csv
import json

import numpy as np
import pytest

from fashion.errors import FashionError
from fashion.runs.predictions import ValidationPredictions
from fashion.sweeps import results
from fashion.sweeps.manifest import SweepJob, SweepManifest
from fashion.sweeps.sweep_page import write_report

CLASSES = np.array(["cat", 'a "dog"'])
# Optimizer, seed, fold, status, and for each image of the fold: the probability of its true class.
JOBS = [
    ("adam", 0, 0, "completed", {"a/1.png": (0, 0.9), "a/2.png": (0, 0.8), "b/1.png": (1, 0.4)}),
    ("adam", 0, 1, "completed", {"a/3.png": (0, 0.7), "ü/2.png": (1, 0.6)}),
    ("adam", 1, 0, "completed", {"a/1.png": (0, 0.9), "a/2.png": (0, 0.2), "b/1.png": (1, 0.4)}),
    ("adam", 1, 1, "failed", {}),
    ("sgd", 0, 0, "completed", {"a/1.png": (0, 0.1), "a/2.png": (0, 0.1), "b/1.png": (1, 0.1)}),
]


@pytest.fixture
def folder(tmp_path):
    jobs = []
    for number, (optimizer, seed, fold, status, images) in enumerate(JOBS):
        overrides = [f"optimizer={optimizer}", f"trainer.seed={seed}", "data.folds=2", f"data.fold={fold}"]
        job = SweepJob(number, overrides, {"data": {"folds": 2, "fold": fold}})
        jobs.append(job)
        run = job.folder(tmp_path)
        run.path.mkdir()
        (run.path / "run.json").write_text("{}")
        labels = np.array([label for label, _ in images.values()], np.int64)
        shares = np.array([share for _, share in images.values()], np.float32)
        right = float(np.mean(shares > 0.5)) if images else None
        metrics = {"val_accuracy": right, "val_loss": 1.0} if images else {}
        (run.path / "result.json").write_text(json.dumps({"status": status, "metrics": metrics}))
        if images:
            probabilities = np.where(np.arange(2) == labels[:, None], shares[:, None], 1 - shares[:, None])
            run.write_validation_predictions(
                ValidationPredictions(CLASSES, np.array(list(images)), labels, probabilities)
            )
    SweepManifest([], {"objective": "val_accuracy"}, jobs).write(tmp_path)
    return tmp_path


def test_folds_and_seeds_are_averaged_and_folds_are_gathered(folder):
    table = results.read(folder)
    assert table.setting_keys == ["optimizer"]
    assert table.replicated == "folds and seeds"
    adam, sgd = table.groups
    assert adam.mean["val_accuracy"] == pytest.approx((2 / 3 + 1 + 1 / 3) / 3)
    assert adam.replicates == "2 folds and 2 seeds"
    first, second = adam.out_of_fold
    assert (first.images, len(first.jobs), first.folds) == (5, 2, 2)
    assert first.accuracy == pytest.approx(4 / 5)
    assert first.macro_accuracy == pytest.approx((1 + 1 / 2) / 2)
    assert first.loss == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7, 0.6]).mean(), abs=1e-6)
    assert first.accuracy_low < 4 / 5 < first.accuracy_high
    assert (second.images, len(second.jobs), second.accuracy) == (3, 1, pytest.approx(1 / 3))
    assert sgd.out_of_fold[0].macro_accuracy == 0
    assert "out of fold    accuracy 0.5667, macro accuracy 0.5000 (mean of 2 seeds), 5 images, 1 of 2 folds" in (
        table.text()
    )


def test_the_files_list_every_prediction_of_the_best_choices(folder):
    write_report(folder)
    with (folder / "out_of_fold.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["job"], row["fold"], row["source"]) for row in rows[:5]] == [
        ("0", "0", "a/1.png"), ("0", "0", "a/2.png"), ("0", "0", "b/1.png"),
        ("1", "1", "a/3.png"), ("1", "1", "ü/2.png"),
    ]  # fmt: skip
    assert {row["job"] for row in rows} == {"0", "1", "2"}
    assert (rows[2]["label"], rows[2]["predicted"], rows[2]["p(cat)"]) == ('a "dog"', "cat", "0.6")
    with (folder / "sweep.csv").open() as stream:
        jobs = list(csv.DictReader(stream))
    assert [row["out_of_fold_accuracy"] for row in jobs[:2]] == ["0.8", "0.8"]
    assert [row["out_of_fold_macro_accuracy"] for row in jobs] == ["0.75", "0.75", "0.25", "", "0.0"]
    page = (folder / "sweep.html").read_text()
    assert "Averages over folds and seeds" in page
    assert "<td>2 of 2</td>" in page
    assert "75.00 %" in page


def test_one_fold_alone_has_a_report(folder):
    manifest = SweepManifest.read(folder)
    manifest.jobs = manifest.jobs[:1]
    manifest.write(folder)
    table = write_report(folder)
    assert table.replicated == ""
    assert table.groups[0].out_of_fold[0].images == 3


@pytest.mark.parametrize("damage", ["cut", "text", "other classes"])
def test_damaged_predictions_are_named(folder, damage):
    path = folder / "1" / "validation_predictions.npz"
    if damage == "other classes":
        predictions = SweepManifest.read(folder).jobs[1].folder(folder).read_validation_predictions()
        SweepManifest.read(folder).jobs[1].folder(folder).write_validation_predictions(
            predictions._replace(classes=CLASSES[::-1])
        )
    else:
        path.write_bytes(path.read_bytes()[:200] if damage == "cut" else b"text")
    with pytest.raises(FashionError, match=r"1.*run (this|the) fold"):
        results.read(folder)
