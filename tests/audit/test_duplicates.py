"""Planted duplicates are found, and nothing else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion.audit import duplicates
from fashion.audit.duplicates import exact_duplicates, groups, similar_pairs


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)


def found(images: np.ndarray, threshold: float = 0.99) -> list[tuple[int, int]]:
    pairs = similar_pairs(images, threshold)
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def test_equal_images_are_exact_duplicates():
    images = noise(50)
    images[[17, 40]] = images[3]
    images[49] = images[20]
    images[30] = images[20]
    images[30, 0, 0] ^= 1
    assert exact_duplicates(images) == [[3, 17, 40], [20, 49]]


def test_planted_near_duplicates_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr(duplicates, "ROWS", 7)
    monkeypatch.setattr(duplicates, "COLUMNS", 13)
    images = noise(60)
    images[59] = images[0]  # equal
    images[31] = images[30] // 2 + 60  # other brightness and contrast
    images[44] = images[6]
    images[44, 0, :14] = 0  # another collar
    assert sorted(found(images, 0.9)) == [(0, 59), (6, 44), (30, 31)]


def test_the_most_similar_pair_comes_first():
    images = noise(20)
    images[5] = images[4] // 4
    images[9] = images[8]
    pairs = similar_pairs(images, 0.9)
    assert (pairs.first[0], pairs.second[0]) == (8, 9)
    assert np.all(np.diff(pairs.similarity) <= 0)


def test_uniform_images_have_no_duplicates():
    assert found(np.full((3, 28, 28), 90, np.uint8), 0.5) == []


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 40), st.integers(0, 1000))
def test_similarities_are_those_of_numpy(count, seed):
    images = noise(count, seed)
    images[1] = np.maximum(images[0], 40)
    pairs = similar_pairs(images, -2.0)
    assert len(pairs.first) == count * (count - 1) // 2
    expected = np.corrcoef(images.reshape(count, -1))
    np.testing.assert_allclose(pairs.similarity, expected[pairs.first, pairs.second], atol=1e-5)


def test_groups_connect_through_other_images():
    images = noise(12)
    images[5] = images[2]
    images[9] = images[5]
    images[11] = images[0]
    numbers = groups(similar_pairs(images, 0.99), 12)
    assert numbers[2] == numbers[5] == numbers[9]
    assert numbers[0] == numbers[11]
    assert len(np.unique(numbers)) == 9
