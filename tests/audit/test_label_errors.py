"""Planted label errors are found, and nothing else."""

import numpy as np
import pytest

from fashion.audit.label_errors import cross_validated_probabilities, likely_errors
from fashion.errors import InputError


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), np.uint8)


def easy(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that any model separates: a light band at the top, in the middle, at the bottom."""
    labels = np.arange(count) % 3
    images = noise(count) // 4
    for label in range(3):
        images[labels == label, 9 * label : 9 * label + 9] += 150
    return images, labels


def test_planted_label_errors_are_found():
    images, truth = easy(600)
    planted = np.array([5, 100, 250, 401, 555])
    labels = truth.copy()
    labels[planted] = (labels[planted] + 1) % 3
    probabilities = cross_validated_probabilities(images, labels, np.arange(600), seed=0)
    assert probabilities.shape == (600, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert sorted(likely_errors(labels, probabilities)) == planted.tolist()
    assert np.array_equal(probabilities.argmax(axis=1), truth)


def test_no_duplicate_confirms_its_twin():
    """On images that are noise, a model recognises only what it was trained on: never twins of one group."""
    images = noise(60)
    labels = np.random.default_rng(1).integers(0, 2, 60)
    twins, twin_labels = np.concatenate([images, images]), np.concatenate([labels, labels])
    together = cross_validated_probabilities(twins, twin_labels, np.tile(np.arange(60), 2), seed=0)
    apart = cross_validated_probabilities(twins, twin_labels, np.arange(120), seed=0)
    accuracy_together, accuracy_apart = (np.mean(p.argmax(axis=1) == twin_labels) for p in (together, apart))
    assert accuracy_together < 0.7 < accuracy_apart


def test_a_few_images_are_enough_to_learn_from():
    """Two classes that differ in nine pixels of noise: eight epochs, of one step each, recognise 62 %."""
    labels = np.arange(200) % 2
    images = noise(200) // 2
    images[labels == 1, 14:17, 14:17] += 100
    probabilities = cross_validated_probabilities(images, labels, np.arange(200), seed=0)
    assert np.mean(probabilities.argmax(axis=1) == labels) > 0.85


def test_images_that_are_all_alike_are_one_line():
    images, labels = easy(60)
    with pytest.raises(InputError, match="all training images are near duplicates of one another"):
        cross_validated_probabilities(images, labels, np.zeros(60, int), seed=0)


def test_classes_of_a_few_images_and_a_few_groups_are_no_error():
    images = noise(12)
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 3])  # class 2 is in one fold alone
    probabilities = cross_validated_probabilities(images, labels, np.arange(12), seed=0)
    assert probabilities.shape == (12, 4)
    assert np.isfinite(probabilities).all()
    assert probabilities[9, 2] == 0
    likely_errors(labels, probabilities)
    cross_validated_probabilities(images[:6], np.array([0, 0, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2]), seed=0)
