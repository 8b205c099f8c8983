"""The numbers behind the page, and the page."""

import json
import re

import keras
import numpy as np
import pytest

from fashion.data.fashion_mnist import CLASSES
from fashion.evaluation import measurement, report
from fashion.inference.predictor import Predictor
from fashion.uncertainty.fitting import fit_abstention
from fashion.uncertainty.ood_datasets import ImageSet
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty

RANDOM = np.random.default_rng(0)
LABELS = np.arange(1000) % 10
# Right in nine of ten, with confidence 0.82; every tenth answer is one class too high, with 0.91 or so.
ROWS = np.full((1000, 10), 0.02, np.float32)
ROWS[np.arange(1000), LABELS] = 0.82
WRONG = np.arange(0, 1000, 10) + np.arange(100) % 10
ROWS[WRONG] = 0.01
ROWS[WRONG, (LABELS[WRONG] + 1) % 10] = 0.91
ABOUT = {
    "name": "cnn", "path": "x/model.keras", "version": "abc", "backend": "jax", "epochs": 3, "seed": 0,
    "created": "2026-01-01T00:00:00+00:00",
}  # fmt: skip


@pytest.fixture(scope="module")
def content():
    return measurement.measure(LABELS, Outputs(ROWS), PosthocUncertainty(2.0))


def test_the_numbers_are_those_of_the_table(content):
    test, before = content["test"], content["test_before_calibration"]
    assert (test["accuracy"], before["accuracy"]) == (0.9, 0.9)
    assert before["loss"] == pytest.approx(-(0.9 * np.log(0.82) + 0.1 * np.log(0.01)), abs=1e-5)
    assert before["ece"] == pytest.approx(0.9 * (1 - 0.82) + 0.1 * 0.91, abs=1e-6)
    assert before["brier"] == pytest.approx(
        0.9 * (0.18**2 + 9 * 0.02**2) + 0.1 * (0.99**2 + 0.91**2 + 8 * 0.01**2), abs=1e-6
    )
    assert content["confusion"][3][3:5] == [90, 10]
    assert content["per_class"][3] == {
        "class": "Dress", "precision": 0.9, "recall": 0.9, "f1": 0.9, "images": 100,
    }  # fmt: skip
    assert content["coverage"]["accuracy"][-1] == 0.9
    assert content["coverage"]["accuracy"][0] == 0  # the surest are the wrong ones
    assert len(content["mistakes"]) == measurement.MOST_MISTAKES
    first = content["mistakes"][0]
    assert (first["image"], first["true"], first["predicted"]) == (0, CLASSES[0], CLASSES[1])
    assert "abstention" not in content


def test_what_is_accepted_and_what_is_not():
    features = ((10 * np.eye(10)[LABELS] + RANDOM.normal(size=(1000, 10))).astype(np.float32),)
    trust = PosthocUncertainty(1.0, fit_abstention(features, LABELS, features))
    strange = (features[0].copy(),)
    strange[0][WRONG] *= -1
    accepted = measurement.measure(LABELS, Outputs(ROWS, strange), trust)["abstention"]
    assert accepted["accuracy_accepted"] == 1
    assert accepted["test_accepted"] == pytest.approx(0.95 * 0.9, abs=0.02)


def test_the_page_stands_by_itself_and_says_the_numbers(content, tmp_path):
    image = np.zeros((28, 28, 3), np.uint8)
    pictures = [{"plain": report._png(image), "overlaid": report._png(image)}] * len(content["mistakes"])
    whole = {
        **content,
        "cost": {"parameters": 4_213_000, "multiply_adds": 8_500_000, "milliseconds": 1.234, "backend": "jax"},
        "strangers": [
            {"set": "<blank>", "images": 256, "abstained": 0.5, "auroc": 0.987, "fpr95": 0.1, "baseline_auroc": 0.6,
             "baseline_fpr95": 0.9}
        ],
        "comparison": {
            "other": ABOUT,
            "mcnemar": {"only_first": 7, "only_second": 3, "p_value": 0.34375, "exact": True},
            "rows": [{"name": "accuracy", "first": 0.9, "second": 0.8, "difference": 0.1, "low": 0.05, "high": 0.15}],
        },
    }  # fmt: skip
    report.write(tmp_path, ABOUT, whole, pictures)
    page = (tmp_path / report.REPORT_FILE).read_text()
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)|url\(|https?://', page)
    for shown in (
        "90.00 %",
        "8.5 million",
        "1.23 ms",
        "98.7 %",
        "&lt;blank&gt;",
        "7 test images only",
        "0.34",
        "+0.1000",
    ):
        assert shown in page
    assert page.count("<figure") == 2 + 1 + len(content["mistakes"])
    read = json.loads((tmp_path / report.METRICS_FILE).read_text())
    assert read["test"] == content["test"]
    assert read["artifact"]["version"] == "abc"


def test_the_page_of_a_training_leaves_out_what_was_not_measured(content, tmp_path):
    report.write(tmp_path, ABOUT, {**content, "cost": {"parameters": 1_000_000, "multiply_adds": 2_000_000}}, [])
    page = (tmp_path / report.REPORT_FILE).read_text()
    assert "2.0 million" in page
    for heading in ("Robustness", "Compared with", "unlike the training images", "most confident mistakes", " ms<"):
        assert heading not in page


def test_the_overlay_is_the_picture_where_nothing_speaks():
    image = RANDOM.integers(0, 256, (28, 28), np.uint8)
    strength = np.zeros((28, 28), np.float32)
    strength[5, 6] = 1
    laid = report.overlaid(image, strength)
    assert np.array_equal(
        np.delete(laid.reshape(-1, 3), 5 * 28 + 6, 0), np.delete(image.ravel(), 5 * 28 + 6).repeat(3).reshape(-1, 3)
    )
    assert abs(laid[5, 6].astype(int) - [224, 122, 63]).max() < 0.2 * 255


def test_strangers_are_told_from_the_test_images():
    images = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(7)(images))
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(flat))
    predictor = Predictor(model, features=True)
    clothes = RANDOM.integers(100, 140, (400, 28, 28), np.uint8)
    outputs = predictor.outputs(clothes)
    trust = PosthocUncertainty(1.0, fit_abstention(outputs.features, np.arange(400) % 10, outputs.features))
    sets = {
        "black": ImageSet(np.zeros((9, 28, 28), np.uint8), np.zeros(9, bool)),
        "same": ImageSet(clothes[:200], np.zeros(200, bool)),
    }
    rows = measurement.strangers(predictor.with_uncertainty(trust), outputs, sets)
    black, same = rows
    assert (black["auroc"], black["fpr95"], black["abstained"], black["images"]) == (1, 0, 1, 9)
    assert same["auroc"] == pytest.approx(0.5, abs=0.1)
    assert same["fpr95"] == pytest.approx(0.95, abs=0.04)
