"""``python scripts/predict.py`` as a user runs it."""

import json

import numpy as np
from PIL import Image

from fashion.data.fashion_mnist import CLASSES, fashion_mnist
from fashion.inference.predictor import Predictor


def test_images_with_any_file_name_get_the_class_that_the_model_predicts(
    smoke_run, run_command, keras_backend, fashion_mnist_root, tmp_path
):
    folder, _ = smoke_run
    images = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0).test.images[:4]
    names = ["plain.png", "with space.png", "a=b,{c}.png", "schön.png"]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image[..., 0]).save(tmp_path / name)
    paths = [tmp_path / name for name in names]
    run = run_command("predict.py", *paths, "--artifact", folder, "--backend", keras_backend)
    assert run.returncode == 0, run.stderr
    predictor, _ = Predictor.load(folder)
    for path, line, row in zip(paths, run.stdout.splitlines(), predictor.probabilities(images), strict=True):
        assert line.startswith(str(path))
        assert f"  {CLASSES[np.argmax(row)]} " in line
        assert f"{row.max():.1%}" in line


def test_one_bad_file_does_not_hide_the_others(smoke_run, run_command, keras_backend, tmp_path):
    folder, _ = smoke_run
    Image.new("RGB", (60, 90), "white").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("text")
    paths = [tmp_path / name for name in ("bad.png", "good.png", "none.png")]
    run = run_command("predict.py", *paths, "artifact=run", "--artifact", folder, "--backend", keras_backend)
    assert run.returncode == 2
    assert run.stdout.startswith(str(tmp_path / "good.png"))
    *errors, model = run.stderr.splitlines()
    assert errors == [
        f"error: {tmp_path / 'bad.png'}: is not an image, expected PNG, JPEG, WebP, AVIF or HEIC",
        f"error: {tmp_path / 'none.png'}: there is no such file",
        "error: artifact=run: there is no such file; a model is named as --artifact RUN",
    ]
    accuracy = json.loads((folder / "fashion_mnist_model.json").read_text())["test"]["accuracy"]
    assert model == f"model: {folder / 'fashion_mnist_model.keras'} (cnn, test accuracy {accuracy:.2%})"


def test_a_missing_model_is_one_line(run_command, tmp_path):
    Image.new("L", (28, 28)).save(tmp_path / "x.png")
    run = run_command("predict.py", tmp_path / "x.png", "--artifact", tmp_path / "nothing.keras")
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {tmp_path / 'nothing.keras'}: there is no such model file")
    assert run.stderr.count("\n") == 1
