"""``python scripts/explore.py`` as a user runs it."""

import json

import pytest

PICTURES = {"classes.png", "class_means.png", "pixel_histogram.png", "augmentation.png"}


def test_numbers_are_printed_and_pictures_written(run_command, keras_backend, fashion_mnist_root, tmp_path):
    run = run_command("explore.py", f"backend={keras_backend}", "augment=crop_flip", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 0, run.stderr
    assert "train       images  (54000, 28, 28)  uint8  0-255" in run.stdout
    assert "test        labels  (10000,)         int64  0-9" in run.stdout
    assert run.stdout.count("10.0%") == 30
    assert {path.name for path in tmp_path.glob("*.png")} == PICTURES
    assert run.stderr == ""


def test_data_that_cannot_be_had_is_one_line(run_command, tmp_path):
    run = run_command("explore.py", "data.root=/nowhere", "data.download=false", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 2
    assert run.stderr.startswith("error: data.root: there is no folder /nowhere")
    assert run.stderr.count("\n") == 1


def test_wrong_input_is_one_line_and_status_2(run_command, tmp_path):
    run = run_command("explore.py", "augment=nosuch", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 2
    assert run.stderr == "error: augment: got nosuch, expected one of affine, crop_flip, none, photo\n"


def test_an_audit_measures_the_artifact_and_writes_what_it_found(run_command, keras_backend, smoke_run, tmp_path):
    options = (f"backend={keras_backend}", "data.limit=1000", f"artifact={smoke_run[0]}", f"hydra.run.dir={tmp_path}")
    run = run_command("explore.py", "audit=true", *options)
    assert run.returncode == 0, run.stderr
    assert "exact duplicates     0 groups among 2000 images" in run.stdout
    found = json.loads((tmp_path / "audit.json").read_text())
    promised = json.loads((smoke_run[0] / "result.json").read_text())["metrics"]
    assert found["accuracy"]["all"]["accuracy"] == pytest.approx(promised["test_accuracy"], abs=1e-3)
    assert {path.name for path in tmp_path.glob("*.png")} == {"duplicates.png", "label_errors.png"}


def test_an_audit_of_a_missing_artifact_is_one_line(run_command, tmp_path):
    run = run_command("explore.py", "audit=true", "artifact=/nowhere", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 2
    assert run.stderr.startswith("error: /nowhere: there is no such model file")
    assert run.stderr.count("\n") == 1
