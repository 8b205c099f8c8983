"""``python scripts/evaluate.py`` as a user runs it."""

import json

import pytest
from PIL import Image

from fashion import artifact

QUICK = "outliers=false"


@pytest.mark.backend
@pytest.mark.parametrize("on", ["jax", "tensorflow"])
def test_evaluation_agrees_with_the_run_on_either_backend(smoke_run, run_command, tmp_path, on):
    folder, _ = smoke_run
    run = run_command(
        "evaluate.py", f"artifact={folder}", f"backend={on}", "data.limit=2000", QUICK, f"hydra.run.dir={tmp_path}"
    )
    assert run.returncode == 0, run.stderr
    assert "agrees with its card" in run.stdout
    measured = json.loads((tmp_path / "metrics.json").read_text())
    promised = json.loads((folder / "result.json").read_text())["metrics"]
    assert measured["test"]["accuracy"] == pytest.approx(promised["test_accuracy"], abs=1e-3)
    assert measured["test_before_calibration"]["loss"] == pytest.approx(promised["test_loss"], abs=1e-4)
    at_the_end = json.loads((folder / "metrics.json").read_text())
    assert measured["test"]["loss"] == pytest.approx(at_the_end["test"]["loss"], abs=1e-4)
    assert measured["abstention"]["test_accepted"] == pytest.approx(at_the_end["abstention"]["test_accepted"], abs=2e-3)
    assert measured["cost"]["milliseconds"] > 0
    assert "<h1>cnn: " in (tmp_path / "report.html").read_text()
    assert (tmp_path / "confusion_matrix.png").stat().st_size > 10_000


def test_the_whole_test_set_is_measured_by_default(smoke_run, run_command, keras_backend, tmp_path):
    folder, _ = smoke_run
    run = run_command(
        "evaluate.py", f"artifact={folder}", f"backend={keras_backend}", QUICK, f"hydra.run.dir={tmp_path}"
    )
    assert run.returncode == 0, run.stderr
    assert "was measured on 1000 test images: data.limit=2000 reproduces it" in run.stdout
    # Validated are the images that validated the run, not others of which it was trained on some.
    measured = json.loads((tmp_path / "metrics.json").read_text())
    promised = json.loads((folder / "result.json").read_text())["metrics"]
    assert measured["validation"]["accuracy"] == pytest.approx(promised["val_accuracy"], abs=1e-6)


def test_a_card_that_reports_too_much_is_refused(smoke_run, run_command, keras_backend, tmp_path):
    folder, _ = smoke_run
    model = (folder / "fashion_mnist_model.keras").read_bytes()
    card = json.loads((folder / "fashion_mnist_model.json").read_text())
    card["test"]["accuracy"] = 0.99
    (tmp_path / "fashion_mnist_model.keras").write_bytes(model)
    (tmp_path / "fashion_mnist_model.json").write_text(json.dumps(card))
    options = (
        f"artifact={tmp_path}",
        f"backend={keras_backend}",
        "data.limit=2000",
        QUICK,
        f"hydra.run.dir={tmp_path}/e",
    )
    run = run_command("evaluate.py", *options)
    assert run.returncode == 2
    assert run.stderr.startswith("error: the card reports a test accuracy of 99.00%, measured ")


def test_an_older_artifact_is_calibrated_and_compared(smoke_run, run_command, keras_backend, tmp_path):
    folder, _ = smoke_run
    card = json.loads((folder / "fashion_mnist_model.json").read_text())
    fitted = {key: card.pop(key) for key in ("calibration", "abstention")}
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "fashion_mnist_model.keras").write_bytes((folder / "fashion_mnist_model.keras").read_bytes())
    (old / "fashion_mnist_model.json").write_text(json.dumps(card))
    options = (f"backend={keras_backend}", "data.limit=2000", f"hydra.run.dir={new}")
    run = run_command("evaluate.py", f"artifact={old}", "calibrate=true", f"compare={old}", *options)
    assert run.returncode == 0, run.stderr
    _, written = artifact.verify(new)
    assert written.calibration.temperature == pytest.approx(fitted["calibration"]["temperature"], rel=1e-3)
    assert written.abstention.threshold == pytest.approx(fitted["abstention"]["threshold"], abs=0.02)
    assert (old / "fashion_mnist_model.json").read_text() == json.dumps(card)
    measured = json.loads((new / "metrics.json").read_text())
    assert {row["set"] for row in measured["ood"]} >= {"blank", "handwritten digits", "sample photos"}
    assert measured["comparison"]["mcnemar"]["p_value"] == 1  # calibration changes no class
    assert {row["name"]: row["difference"] for row in measured["comparison"]["rows"]}["accuracy"] == 0


def test_a_photo_that_cannot_be_read_does_not_hide_the_others(smoke_run, run_command, keras_backend, tmp_path):
    photos = tmp_path / "photos" / "hat"
    photos.mkdir(parents=True)
    Image.effect_noise((80, 60), 90).save(photos / "good.png")
    (photos / "bad.png").write_text("text")
    (photos / "gone.png").symlink_to("nowhere")
    options = (f"artifact={smoke_run[0]}", f"backend={keras_backend}", "data.limit=2000", f"photos={photos.parent}")
    run = run_command("evaluate.py", *options, f"hydra.run.dir={tmp_path}/run")
    assert run.returncode == 2
    bad, gone, summary = run.stderr.splitlines()
    assert bad.startswith(f"error: {photos / 'bad.png'}: is not an image")
    assert gone == f"error: {photos / 'gone.png'}: cannot be read (No such file or directory); it is skipped"
    assert summary == "error: photos: 2 files could not be read and were skipped; the report covers the others"
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text())["ood"]
    assert [row["images"] for row in rows if row["set"] == "photos: hat"] == [1]


def test_missing_data_is_one_line(smoke_run, run_command, keras_backend, tmp_path):
    options = (f"artifact={smoke_run[0]}", f"backend={keras_backend}", "data.root=/nowhere", "data.download=false")
    run = run_command("evaluate.py", *options, f"hydra.run.dir={tmp_path}")
    assert run.returncode == 2
    assert run.stderr.startswith("error: data.root: there is no folder /nowhere")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["artifact=/nowhere"], "error: /nowhere: there is no such model file"),
        (["artefact=x"], "error: artefact: there is no such key"),
        (["backend=torch"], "error: backend: got 'torch', expected 'jax' or 'tensorflow'"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(run_command, tmp_path, options, message):
    run = run_command("evaluate.py", *options, f"hydra.run.dir={tmp_path / 'run'}")
    assert run.returncode == 2
    assert run.stderr.startswith(message)
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_robustness_is_measured_on_request(smoke_run, run_command, keras_backend, tmp_path):
    options = (f"artifact={smoke_run[0]}", f"backend={keras_backend}", "data.limit=500", QUICK, "robustness=true")
    run = run_command("evaluate.py", *options, f"hydra.run.dir={tmp_path}")
    assert run.returncode == 0, run.stderr
    measured = json.loads((tmp_path / "metrics.json").read_text())
    assert measured["robustness"]["clean_accuracy"] == measured["test"]["accuracy"]
    assert 0.1 < measured["robustness"]["mean_corruption_accuracy"] < measured["test"]["accuracy"]
    assert len((tmp_path / "robustness.csv").read_text().splitlines()) == 77
    assert (tmp_path / "robustness.png").stat().st_size > 10_000
