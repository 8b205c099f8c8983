"""The audit's counts and accuracies on a data set with planted faults."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from data_sets import fashion_like
from PIL import Image

from fashion.audit.data_audit import audit
from fashion.audit.findings import PairCounts, describe
from fashion.data.dataset import Dataset, PixelStatistics, Split
from fashion.data.fashion_mnist import CLASSES
from fashion.data.image_rows import ImageRows
from fashion.inference.predictor import Predictor
from fashion.preprocessing.input_spec import InputSpec


class Oracle(Predictor):
    """Predicts every test image correctly, except the first two."""

    def __init__(self, labels: np.ndarray) -> None:
        wrong = labels.copy()
        wrong[:2] = (wrong[:2] + 1) % len(CLASSES)
        self.rows = np.eye(len(CLASSES), dtype=np.float32)[wrong]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self.rows


def dataset() -> Dataset:
    """Bands of ten heights; train 3 equals validation 1, test 0 and 5 are copies of train images."""
    random = np.random.default_rng(0)
    labels = np.arange(300) % len(CLASSES)
    images = random.integers(0, 40, (300, 28, 28), np.uint8)
    images[np.arange(300), 2 * labels] = 200
    images += random.integers(0, 2, images.shape, np.uint8) * random.integers(0, 55, images.shape, np.uint8)
    test, train, validation = np.arange(40), np.arange(40, 260), np.arange(260, 300)
    images[260 + 1] = images[40 + 3]
    images[0] = images[40 + 100]
    images[5] = images[40 + 7]
    images = images[..., np.newaxis]
    return fashion_like(
        train=Split(images[train], labels[train], np.arange(220) * 2),
        validation=Split(images[validation], labels[validation], np.arange(40) * 2 + 1),
        test=Split(images[test], labels[test], test),
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    data = dataset()
    folder = tmp_path_factory.mktemp("audit")
    returned = audit(data, Oracle(data.test.labels), folder, seed=0)
    assert json.loads((folder / "audit.json").read_text()) == json.loads(json.dumps(asdict(returned)))
    assert (folder / "duplicates.png").stat().st_size > 5_000
    assert (folder / "label_errors.png").stat().st_size > 5_000
    return returned


def test_planted_duplicates_are_named_by_their_position_in_the_official_files(found):
    exact = {frozenset(group) for group in found.duplicates.exact_groups}
    assert exact == {frozenset({"train 6", "train 3"}), frozenset({"train 200", "test 0"}), frozenset({"train 14", "test 5"})}  # fmt: skip  # noqa: E501
    near = {frozenset(pair[:2]) for pair in found.duplicates.near_pairs}
    assert near == exact


def test_pairs_are_counted_by_split_with_their_conflicts(found):
    counts = next(row for row in found.duplicates.by_threshold if row.threshold == 0.99)
    assert counts.within_train == PairCounts(pairs=1, conflicting_labels=1)
    assert counts.within_test == PairCounts(pairs=0, conflicting_labels=0)
    assert counts.train_and_test == PairCounts(pairs=2, conflicting_labels=1)


def test_accuracy_is_measured_with_and_without_the_duplicates(found):
    assert found.accuracy.all.accuracy == pytest.approx(38 / 40)
    row = next(row for row in found.accuracy.by_threshold if row.threshold == 0.99)
    assert (row.without.images, row.without.accuracy) == (38, pytest.approx(37 / 38))
    assert (row.duplicates_alone.images, row.duplicates_alone.accuracy) == (2, 0.5)
    text = describe(found)
    assert "97.37% (+2.37 points) without 2 images, 50.0% on those alone" in text
    assert "3 groups among 300 images" in text


def test_without_an_artifact_the_text_says_so(found):
    assert "not measured: there is no outputs/latest" in describe(replace(found, accuracy=None))


def test_findings_of_a_weak_model_come_with_a_warning(found):
    for accuracy, warned in ((0.69, True), (0.71, False)):
        errors = replace(found.label_errors, quick_model_accuracy=accuracy)
        assert ("many of these labels are right" in describe(replace(found, label_errors=errors))) is warned


def test_label_errors_are_counted_by_class_pair(found):
    errors = found.label_errors
    assert sum(row.images for row in errors.by_class_pair) == errors.likely_errors
    assert len(errors.likeliest_first) == errors.likely_errors


def test_colour_photos_in_a_file_are_named_by_their_paths(tmp_path, capsys):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pixels = random.integers(0, 60, (60, 40, 50, 3), np.uint8)
    for label in range(3):
        pixels[labels == label, ..., label] += 150
    pixels[7] = pixels[3]
    pixels[52] = pixels[10] // 2 + 90  # in test: with another brightness
    paths = np.array([f"{'xyz'[label]}/{number:02}.jpg" for number, label in enumerate(labels)])
    splits = [
        Split(ImageRows(pixels, rows), labels[rows], paths[rows])
        for rows in (np.arange(0, 50, 2), np.arange(1, 50, 2), np.arange(50, 60))
    ]
    spec = InputSpec(height=40, width=50, channels=3, preprocessing="resize")
    data = Dataset("mine", "mine", ("x", "y", "z"), spec, PixelStatistics((0.3,) * 3, (0.2,) * 3), *splits, {})
    found = audit(data, None, tmp_path, seed=0)
    assert {frozenset(group) for group in found.duplicates.exact_groups} == {frozenset({"x/03.jpg", "y/07.jpg"})}
    near = {frozenset(pair[:2]) for pair in found.duplicates.near_pairs}
    assert near == {frozenset({"x/03.jpg", "y/07.jpg"}), frozenset({"y/10.jpg", "y/52.jpg"})}
    assert found.images.train == 50
    assert "outputs/latest of this data" in capsys.readouterr().out
    red, green, _ = np.asarray(Image.open(tmp_path / "duplicates.png").convert("RGB")).astype(int).transpose(2, 0, 1)
    assert np.mean(abs(red - green) > 60) > 0.01  # in colour
