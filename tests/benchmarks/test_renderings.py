"""Test images sent as files: the originals, and rendered as shop images."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fashion.benchmarks import renderings
from fashion.card import model_file
from fashion.data.fashion_mnist import fashion_mnist
from fashion.inference.predictor import Predictor
from fashion.paths import PRETRAINED
from fashion.preprocessing.fashion_mnist import prepare
from fashion.runs.run_record import git_state


@pytest.fixture(scope="module")
def data(fashion_mnist_root):
    return fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)


def test_a_rendering_is_a_large_product_on_near_white(data):
    random, same = np.random.default_rng(1), []
    for pixels in data.test.images[:20, ..., 0]:
        page = Image.open(io.BytesIO(renderings.render(pixels, random)))
        assert page.format == "JPEG"
        assert min(page.size) >= 8 * 28
        assert max(page.size) <= 20 * 28 * 1.8 + 1
        seen = np.asarray(page)
        assert seen[0, 0] >= 236  # what JPEG leaves of 240
        assert seen.min() < 255 - 0.8 * pixels.max()
        prepared = prepare(page)
        assert not prepared.is_photo
        assert np.median(prepared.pixels[..., 0][pixels == 0]) == 0  # the background is exactly black again
        same.append(np.corrcoef(prepared.pixels[..., 0].ravel(), pixels.ravel())[0, 1])
    assert np.median(same) > 0.85


@pytest.mark.slow
def test_all_formats_are_measured_with_one_model(data):
    predictor, _ = Predictor.load(PRETRAINED)
    images, labels = data.test.images[:200, ..., 0], data.test.labels[:200]
    result = renderings.measure(images, labels, predictor)
    raw, products, seven_steps = result["formats"].values()
    assert result["accuracy"] == np.mean(predictor.probabilities(images[..., np.newaxis]).argmax(axis=1) == labels)
    assert raw["same_pixels"] == raw["same_class"] == 200
    assert raw["accuracy"] == result["accuracy"]
    assert products["same_pixels"] < 200
    assert products["same_class"] >= 180
    assert products["same_class"] > seven_steps["same_class"]
    assert products["as_photo"] < 10
    text = renderings.table(result)
    assert "200 test images" in text
    assert "product on near-white" in text


def test_the_command_writes_what_it_shows(run_command, small_artifact, fashion_mnist_root, keras_backend, tmp_path):
    arguments = ("--artifact", small_artifact, "--backend", keras_backend, "--data", fashion_mnist_root)
    finished = run_command("benchmark.py", "renderings", *arguments, "--images", 30, "--folder", tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "30 test images" in finished.stdout
    written = json.loads((tmp_path / "renderings.json").read_text())
    assert written["images"] == 30
    assert written["command"].startswith("python scripts/benchmark.py renderings ")
    assert written["commit"] == str(git_state() or "not recorded")


def test_a_model_of_other_images_is_refused(run_command, small_artifact, tmp_path):
    model = model_file(small_artifact)
    copied = tmp_path / model.name
    shutil.copyfile(model, copied)
    card = json.loads(model.with_suffix(".json").read_text())
    copied.with_suffix(".json").write_text(json.dumps({**card, "classes": card["classes"][::-1]}))
    finished = run_command("benchmark.py", "renderings", "--artifact", copied, "--folder", tmp_path)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: --artifact: {copied} was trained on other images; choose one such as")
