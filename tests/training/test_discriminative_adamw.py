"""AdamW with a rate for the last layer and one for all others, against Keras's AdamW with either."""

import keras
import numpy as np
import pytest

from fashion.backend.selection import seed_everything
from fashion.training.discriminative_adamw import DiscriminativeAdamW
from fashion.training.schedules import one_cycle

pytestmark = pytest.mark.backend

PEAK, DECAY = 0.1, 0.05


def trained(make, peak: float, *, hidden: bool = True, last: bool = True) -> keras.Model:
    """Train a small network for two epochs; without ``hidden`` or ``last``, that layer stays as it is."""
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(32, 6)).astype(np.float32), np.arange(32) % 3
    seed_everything(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="relu", name="hidden", trainable=hidden),
            keras.layers.Dense(3, activation="softmax", name="probabilities", trainable=last),
        ]
    )
    optimizer = make(weight_decay=DECAY, learning_rate=peak)
    optimizer.learning_rate = one_cycle(0.3, peak=peak, steps=8)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(inputs, labels, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model


def discriminative(rate: float):
    return lambda **settings: DiscriminativeAdamW(backbone_rate=rate, **settings)


def test_with_one_rate_it_is_adamw():
    ours, theirs = trained(discriminative(1.0), PEAK), trained(keras.optimizers.AdamW, PEAK)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_the_last_layer_learns_at_the_full_rate_and_the_others_at_their_share():
    settings = {"hidden": False}
    ours, theirs = trained(discriminative(0.1), PEAK, **settings), trained(keras.optimizers.AdamW, PEAK, **settings)
    assert ours.layers[-1].get_weights()[0] == pytest.approx(theirs.layers[-1].get_weights()[0], abs=1e-6)
    settings = {"last": False}
    ours = trained(discriminative(0.1), PEAK, **settings)
    theirs = trained(keras.optimizers.AdamW, 0.1 * PEAK, **settings)
    assert ours.layers[0].get_weights()[0] == pytest.approx(theirs.layers[0].get_weights()[0], abs=1e-6)


def test_a_backbone_that_does_not_learn_stays_to_the_bit():
    start = trained(keras.optimizers.AdamW, PEAK, hidden=False).layers[0].get_weights()
    after = trained(discriminative(0.0), PEAK).layers[0].get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(start, after, strict=True))


def test_it_is_built_from_its_own_configuration():
    optimizer = DiscriminativeAdamW(learning_rate=0.01, weight_decay=0.02, backbone_rate=0.3, clipnorm=1.0)
    copy = DiscriminativeAdamW.from_config(optimizer.get_config())
    assert (copy.decay, copy.backbone_rate, copy.clipnorm) == (0.02, 0.3, 1.0)
    assert keras.ops.convert_to_numpy(copy.learning_rate) == pytest.approx(0.01)
