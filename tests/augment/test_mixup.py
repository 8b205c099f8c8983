"""Mixup and CutMix: the images they make, and the shares that the loss reads, on either backend."""

import keras
import numpy as np
import pytest
from keras import ops

from fashion.augment.mixup import QUANTILES, Mixup
from fashion.errors import InputError

pytestmark = pytest.mark.backend

NONE = {"_target_": "fashion.augment.none.none"}


def images(count: int = 6, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, 12, 16, channels), dtype=np.float32)


def mixup(mixup_alpha: float, cutmix_alpha: float, seed: int = 0) -> Mixup:
    return Mixup(NONE, mixup_alpha, cutmix_alpha, seed=seed)


def test_mixup_blends_each_image_with_its_partner_by_the_share(transform):
    layer, before = mixup(0.4, 0.0), images()
    mixed = transform(layer, before)
    share = float(layer.share)
    assert 0.5 <= share < 1
    assert np.allclose(mixed, share * before + (1 - share) * before[::-1], atol=1e-6)
    assert np.allclose(mixed.mean(axis=0), before.mean(axis=0), atol=1e-6)


def test_cutmix_pastes_one_rectangle_whose_area_is_the_share(transform):
    layer, before = mixup(0.0, 1.0), images(channels=1)
    shares = []
    for _ in range(30):
        mixed = transform(layer, before)
        own = (mixed == before).all(axis=(0, 3))
        partner = (mixed == before[::-1]).all(axis=(0, 3))
        assert (own ^ partner).all()
        assert is_rectangle(partner) or is_rectangle(own)
        assert own.mean() == pytest.approx(float(layer.share), abs=1e-6)
        shares.append(own.mean())
    assert 0.5 <= min(shares) < 0.65
    assert 0.85 < max(shares) <= 1


def is_rectangle(part: np.ndarray) -> bool:
    return np.array_equal(part, np.outer(part.any(axis=1), part.any(axis=0)))


def test_shares_are_those_of_the_beta_distribution(monkeypatch):
    monkeypatch.setattr(keras.random, "randint", lambda *args, **kwargs: np.arange(QUANTILES, dtype=np.int32))
    possible = ops.convert_to_numpy(mixup(0.3, 0.0)._drawn_share(0.3))
    expected = np.random.default_rng(0).beta(0.3, 0.3, 200_000)
    shares = np.linspace(0.01, 0.99, 9)
    assert np.allclose(np.quantile(possible, shares), np.quantile(expected, shares), atol=0.01)


def test_with_both_alphas_each_batch_draws_one_of_the_two(transform):
    layer, before = mixup(1.0, 1.0), images()
    pasted = [bool((mixed == before)[0].any()) for mixed in (transform(layer, before) for _ in range(20))]
    assert 4 <= sum(pasted) <= 16


def test_the_base_comes_first_and_without_alphas_alone(transform):
    base = {"_target_": "fashion.augment.crop_flip.CropFlip", "padding_pixels": 0, "flip_probability": 1.0}
    layer = Mixup(base | {"erase_probability": 0.0}, 0.0, 0.0, seed=0)
    assert np.array_equal(transform(layer, images()), images()[:, :, ::-1])
    assert float(layer.share) == 1


def test_the_seed_decides_and_each_step_draws_anew(transform):
    layer = mixup(0.4, 1.0)
    first = transform(layer, images())
    assert np.array_equal(transform(mixup(0.4, 1.0), images()), first)
    assert not np.array_equal(transform(mixup(0.4, 1.0, seed=1), images()), first)
    assert not np.array_equal(transform(layer, images()), first)


def test_nothing_happens_outside_training():
    assert np.array_equal(np.asarray(mixup(0.4, 1.0)(images(), training=False)), images())


def test_mixtures_are_not_mixed_again():
    again = {"_target_": "fashion.augment.mixup.Mixup", "base": NONE, "mixup_alpha": 0.2, "cutmix_alpha": 0.0}
    again["_recursive_"] = False
    with pytest.raises(InputError, match=r"^augment\.base: got a choice that mixes images itself"):
        Mixup(again, 0.2, 0.0, seed=0)
