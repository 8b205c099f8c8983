"""No augmentation."""

import keras


def none(*, seed: int) -> keras.layers.Layer:
    """Return a layer that does not change images; the seed is not used."""
    del seed
    return keras.layers.Identity(name="augment")
