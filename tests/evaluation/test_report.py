"""The measurements, and the page and the file that report them."""

import base64
import io
import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from fashion.data.dataset import PixelStatistics
from fashion.data.fashion_mnist import CLASSES, PIXELS
from fashion.evaluation import measurement, report
from fashion.evaluation.records import Comparison, ComparisonRow, Cost, McNemarTest, ModelSummary, OodScores, to_json
from fashion.inference.predictor import Predictor
from fashion.runs.folder import METRICS_FILE, REPORT_FILE
from fashion.uncertainty.fitting import fit_abstention
from fashion.uncertainty.ood_datasets import ImageSet
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty

RANDOM = np.random.default_rng(0)
LABELS = np.arange(1000) % 10
# Nine in ten are right, with confidence 0.82; every tenth is one class too high, with about 0.91.
ROWS = np.full((1000, 10), 0.02, np.float32)
ROWS[np.arange(1000), LABELS] = 0.82
WRONG = np.arange(0, 1000, 10) + np.arange(100) % 10
ROWS[WRONG] = 0.01
ROWS[WRONG, (LABELS[WRONG] + 1) % 10] = 0.91
MODEL = ModelSummary(
    name="cnn", path="x/model.keras", version="abc", backend="jax", epochs=3, seed=0,
    created="2026-01-01T00:00:00+00:00",
)  # fmt: skip


class Constant(Predictor):
    """Predicts every class with the same probability."""

    def __init__(self) -> None:
        """Without a model."""

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 10), 0.1, np.float32)


@pytest.fixture(scope="module")
def measured():
    return measurement.measure(MODEL, LABELS, Outputs(ROWS), PosthocUncertainty(2.0), CLASSES)


def test_known_probabilities_give_known_numbers(measured):
    test, before = measured.test, measured.test_before_calibration
    assert (test.accuracy, before.accuracy) == (0.9, 0.9)
    assert before.loss == pytest.approx(-(0.9 * np.log(0.82) + 0.1 * np.log(0.01)), abs=1e-5)
    assert before.ece == pytest.approx(0.9 * (1 - 0.82) + 0.1 * 0.91, abs=1e-6)
    assert before.brier == pytest.approx(
        0.9 * (0.18**2 + 9 * 0.02**2) + 0.1 * (0.99**2 + 0.91**2 + 8 * 0.01**2), abs=1e-6
    )
    assert measured.confusion[3][3:5] == [90, 10]
    assert to_json(measured)["per_class"][3] == {
        "class": "Dress", "precision": 0.9, "recall": 0.9, "f1": 0.9, "images": 100,
        "recall_low": pytest.approx(0.8256, abs=1e-4), "recall_high": pytest.approx(0.9448, abs=1e-4),
    }  # fmt: skip
    assert test.macro_accuracy == pytest.approx(0.9)
    assert not measured.unequal_classes
    assert measured.coverage.accuracy[-1] == 0.9
    assert measured.coverage.accuracy[0] == 0  # the most confident are the wrong ones
    assert len(measured.mistakes) == measurement.MAX_MISTAKES
    first = measured.mistakes[0]
    assert (first.image, first.true, first.predicted) == (0, CLASSES[0], CLASSES[1])
    assert "abstention" not in to_json(measured)


def test_accuracy_is_measured_on_accepted_and_other_images():
    features = ((10 * np.eye(10)[LABELS] + RANDOM.normal(size=(1000, 10))).astype(np.float32),)
    uncertainty = PosthocUncertainty(1.0, fit_abstention(features, LABELS, features))
    foreign = (features[0].copy(),)
    foreign[0][WRONG] *= -1
    abstention = measurement.measure(MODEL, LABELS, Outputs(ROWS, foreign), uncertainty, CLASSES).abstention
    assert abstention.accuracy_accepted == 1
    assert abstention.test_accepted == pytest.approx(0.95 * 0.9, abs=0.02)


def test_the_page_needs_no_other_file_and_shows_the_numbers(measured, tmp_path):
    images = np.zeros((1000, 28, 28, 1), np.uint8)
    gallery = report.mistake_images(Constant(), images, measured.mistakes, CLASSES, PIXELS)
    whole = replace(
        measured,
        cost=Cost(parameters=4_213_000, multiply_adds=8_500_000, milliseconds=1.234, backend="jax"),
        ood=[
            OodScores(
                set="<blank>", images=256, abstained=0.5, auroc=0.987, fpr95=0.1, baseline_auroc=0.6, baseline_fpr95=0.9
            )
        ],
        comparison=Comparison(
            MODEL,
            McNemarTest(only_first=7, only_second=3, p_value=0.34375, exact=True),
            [ComparisonRow(name="accuracy", first=0.9, second=0.8, difference=0.1, low=0.05, high=0.15)],
        ),
    )
    report.write(tmp_path, whole, gallery)
    page = (tmp_path / REPORT_FILE).read_text()
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)|url\(|https?://', page)
    for shown in (
        "90.00 %",
        "8.5 million",
        "1.23 ms",
        "98.7 %",
        "&lt;blank&gt;",
        "Only this model classifies 7 of the test images correctly, only the other 3.",
        "0.34",
        "+0.1000",
    ):
        assert shown in page
    assert page.count("<figure") == 2 + 1 + len(measured.mistakes)
    read = json.loads((tmp_path / METRICS_FILE).read_text())
    assert read == json.loads(json.dumps(to_json(whole)))
    assert read["test"] == to_json(measured.test)
    assert read["artifact"]["version"] == "abc"
    assert read["ood"][0]["set"] == "<blank>"


def test_parts_that_were_not_measured_are_absent(measured, tmp_path):
    report.write(tmp_path, replace(measured, cost=Cost(parameters=1_000_000, multiply_adds=2_000_000)))
    page = (tmp_path / REPORT_FILE).read_text()
    assert "2.0 million" in page
    for heading in ("Robustness", "Compared with", "Abstention", "most confident mistakes", " ms<"):
        assert heading not in page
    read = json.loads((tmp_path / METRICS_FILE).read_text())
    assert read["cost"] == {"parameters": 1_000_000, "multiply_adds": 2_000_000}
    assert not {"abstention", "validation", "ood", "comparison", "robustness"} & set(read)


def test_the_overlay_leaves_pixels_without_influence_unchanged():
    image = RANDOM.integers(0, 256, (28, 28, 1), np.uint8)
    sensitivity = np.zeros((28, 28), np.float32)
    sensitivity[5, 6] = 1
    laid = report.overlaid(image, sensitivity)
    assert np.array_equal(
        np.delete(laid.reshape(-1, 3), 5 * 28 + 6, 0), np.delete(image.ravel(), 5 * 28 + 6).repeat(3).reshape(-1, 3)
    )
    assert abs(laid[5, 6].astype(int) - [224, 122, 63]).max() < 0.2 * 255


def test_out_of_distribution_images_are_separated_from_test_images():
    images = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(7)(images))
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(flat))
    predictor = Predictor(model, features=True)
    clothes = RANDOM.integers(100, 140, (400, 28, 28, 1), np.uint8)
    outputs = predictor.outputs(clothes)
    uncertainty = PosthocUncertainty(1.0, fit_abstention(outputs.features, np.arange(400) % 10, outputs.features))
    sets = {
        "black": ImageSet(np.zeros((9, 28, 28, 1), np.uint8), np.zeros(9, bool)),
        "same": ImageSet(clothes[:200], np.zeros(200, bool)),
    }
    rows = measurement.ood_scores(predictor.with_uncertainty(uncertainty), outputs, sets)
    black, same = rows
    assert (black.auroc, black.fpr95, black.abstained, black.images) == (1, 0, 1, 9)
    assert same.auroc == pytest.approx(0.5, abs=0.1)
    assert same.fpr95 == pytest.approx(0.95, abs=0.04)


def many_classes(classes: int, images: int) -> measurement.Measurement:
    """The first class has half of the images and is recognised; of the others every second image is not."""
    labels = np.concatenate([np.zeros(images // 2, int), np.arange(images // 2) % classes])
    wrong = (labels > 0) & (np.arange(images) // classes % 2 == 0)
    rows = np.full((images, classes), 0.01, np.float32)
    rows[np.arange(images), np.where(wrong, 0, labels)] = 0.9
    names = [f"class <{number}>" for number in range(classes)]
    return measurement.measure(
        MODEL, labels, Outputs(rows / rows.sum(axis=1, keepdims=True)), PosthocUncertainty(), names
    )


@pytest.mark.parametrize(("name", "is_vertical"), [("A", False), ("a long name", True)])
def test_a_page_of_a_few_images_reads_well(name, is_vertical, tmp_path):
    labels = np.arange(30) % 3
    rows = np.full((30, 3), 0.1, np.float32)
    rows[np.arange(30), np.where(np.arange(30) < 15, labels, 0)] = 0.8 - 0.01 * np.arange(30)
    found = measurement.measure(replace(MODEL, epochs=1), labels, Outputs(rows), PosthocUncertainty(), (name, "B", "C"))
    report.write(tmp_path, found)
    page = (tmp_path / REPORT_FILE).read_text()
    assert "for 1 epoch with" in page
    assert "100.0 % on the most confident 50 %, 75.0 % on the most confident 80 %" in page
    assert page.count('<span class="vertical">') == 3 * is_vertical


@pytest.mark.parametrize("classes", [2, 200])
def test_two_and_two_hundred_classes_have_a_page(classes, tmp_path):
    found = many_classes(classes, 8 * classes)
    assert found.unequal_classes
    assert found.test.macro_accuracy < found.test.accuracy
    first = ModelSummary(**{**vars(MODEL)})
    rows = [ComparisonRow(f"recall of {name}", 0.5, 0.25, 0.25, 0.1, 0.4) for name in found.classes]
    report.write(tmp_path, replace(found, comparison=Comparison(first, McNemarTest(1, 0, 1.0, True), rows)))
    page = (tmp_path / REPORT_FILE).read_text()
    assert f"{100 * found.test.macro_accuracy:.2f} %</b><span>macro accuracy (balanced accuracy)" in page
    assert "class &lt;1&gt;" in page
    assert "<0>" not in page
    if classes == 2:
        assert "<details>" not in page
        assert page.count('<table class="confusion">') == 1
    else:
        assert "All 200 classes" in page
        assert "All 200 metrics" in page
        assert 'class="matrix pixelated" src="data:image/png' in page
        assert len(page) < 300_000
        lowest = page[page.index("Lowest recall first") : page.index("All 200 classes")]
        assert lowest.count('<th scope="row">') == report.MAX_ROWS


def test_the_most_confused_pairs_come_first():
    counts = np.array([[5, 3, 2], [1, 4, 2], [0, 9, 1]])
    pairs = report.most_confused(counts, ("a", "b", "c"))
    assert [(pair.true, pair.predicted, pair.images) for pair in pairs] == [
        ("c", "b", 9), ("a", "b", 3), ("b", "c", 2), ("a", "c", 2),
    ]  # fmt: skip
    assert [pair.share for pair in pairs] == pytest.approx([0.9, 0.3, 2 / 7, 0.2])


def test_mistakes_of_large_colour_images_are_reduced():
    images = np.zeros((1, 300, 240, 3), np.uint8)
    images[..., 0] = 200
    mistake = measurement.most_confident_mistakes(np.array([1]), np.array([[0.8, 0.2]], np.float32), ("a", "b"))
    statistics = PixelStatistics((0.5,) * 3, (0.2,) * 3)
    (shown,) = report.mistake_images(Constant(), images, mistake, ("a", "b"), statistics)
    assert not shown.small
    with Image.open(io.BytesIO(base64.b64decode(shown.plain.partition(",")[2]))) as image:
        assert (image.format, image.size) == ("JPEG", (179, 224))
        assert np.asarray(image)[5, 5] == pytest.approx([200, 0, 0], abs=4)
