"""``python scripts/explore.py`` as a user runs it."""

FIGURES = {"classes.png", "class_means.png", "pixel_histogram.png", "augmentation.png"}


def test_numbers_are_printed_and_figures_written(run_command, keras_backend, fashion_mnist_root, tmp_path):
    run = run_command("explore.py", f"backend={keras_backend}", "augment=crop_flip", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 0, run.stderr
    assert "train       images  (54000, 28, 28, 1)  uint8  0-255" in run.stdout
    assert "test        labels  (10000,)            int64  0-9" in run.stdout
    assert run.stdout.count("10.0%") == 30
    assert {path.name for path in tmp_path.glob("*.png")} == FIGURES
    assert run.stderr == ""


def test_missing_data_is_one_line(run_command, tmp_path):
    run = run_command("explore.py", "data.root=/nowhere", "data.download=false", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 2
    assert run.stderr.startswith("error: data.root: there is no folder /nowhere")
    assert run.stderr.count("\n") == 1


def test_wrong_input_is_one_line_and_status_2(run_command, tmp_path):
    run = run_command("explore.py", "augment=nosuch", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 2
    choices = "affine, crop_flip, cutmix, mixup, none, photo, randaugment, random_crop"
    assert run.stderr == f"error: augment: got nosuch, expected one of {choices}\n"
