"""Images that the tests of augmentation share."""

import numpy as np
import pytest

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
