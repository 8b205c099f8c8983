"""No augmentation."""

import keras


def none(*, seed: int) -> keras.layers.Layer:
    """Return a layer that leaves images as they are; the seed is not used."""
    del seed
    return keras.layers.Identity(name="augment")
