"""Images that the tests of augmentation share."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from fashion.data.fashion_mnist import fashion_mnist


@pytest.fixture(scope="session")
def products(fashion_mnist_root):
    """100 images of each class, and their labels."""
    data = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    chosen = np.concatenate([np.flatnonzero(data.validation.labels == number)[:100] for number in range(10)])
    return data.validation.images[chosen, ..., 0], data.validation.labels[chosen]


@pytest.fixture
def single_operations(keras_backend):
    """For tests that call Keras's operations one by one."""
    if keras_backend == "jax":
        pytest.skip("JAX takes a minute for what TensorFlow does in a second: single operations")


@pytest.fixture(scope="session")
def transform(keras_backend):
    """Call an augmentation as one program, which single operations would not be: a second instead of a minute."""

    @functools.cache
    def program(layer: keras.layers.Layer):
        if keras_backend == "tensorflow":
            return lambda state, images: (layer(images, training=True), state)
        import jax

        return jax.jit(lambda state, images: layer.stateless_call([], state, images, training=True))

    def call(layer: keras.layers.Layer, images: np.ndarray) -> np.ndarray:
        layer.build(images.shape)
        before = [variable.value for variable in layer.non_trainable_variables]
        result, after = program(layer)(before, images)
        if keras_backend == "jax":
            for variable, value in zip(layer.non_trainable_variables, after, strict=True):
                variable.assign(value)
        return ops.convert_to_numpy(result)

    return call
