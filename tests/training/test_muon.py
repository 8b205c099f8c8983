"""Muon on kernels of convolutions, against Keras's on the same matrices."""

import keras
import numpy as np
import pytest

from fashion.training.muon import Muon

pytestmark = pytest.mark.backend

SETTINGS = {"learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0.9, "adam_weight_decay": 0.02}


def stepped(optimizer: keras.optimizers.Optimizer, start: np.ndarray, gradients: list[np.ndarray], path: str):
    variable = keras.Variable(start, name=path)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.fixture
def in_a_layer():
    """Variables whose path ends with ``/kernel``, as a layer's do."""
    with keras.name_scope("conv"):
        yield


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (1, 1, 16, 5)])
def test_a_convolution_is_the_matrix_from_all_its_inputs_to_its_outputs(in_a_layer, shape):
    start, gradients = random(*shape), [random(*shape) * scale for scale in (1, 0.5, 2)]
    flat = (-1, shape[-1])
    matrix = stepped(
        keras.optimizers.Muon(**SETTINGS), start.reshape(flat), [each.reshape(flat) for each in gradients], "kernel"
    )
    assert stepped(Muon(**SETTINGS), start, gradients, "kernel") == pytest.approx(matrix.reshape(shape), abs=1e-5)
    adam = stepped(keras.optimizers.Muon(**SETTINGS), start, gradients, "kernel")  # Keras's leaves it to AdamW
    assert np.abs(adam - matrix.reshape(shape)).max() > 0.01


def test_an_update_changes_all_directions_alike(in_a_layer):
    settings = SETTINGS | {"weight_decay": 0.0}
    step = stepped(Muon(**settings), np.zeros((3, 3, 8, 8), np.float32), [random(3, 3, 8, 8)], "kernel")
    singular = np.linalg.svd(step.reshape(-1, 8), compute_uv=False) / (0.1 * 0.2 * 72**0.5)
    assert 0.6 < singular.min() <= singular.max() < 1.3  # five steps of Newton and Schulz bring them near 1


@pytest.mark.parametrize("name", ["depthwise_kernel", "bias"])
def test_other_variables_stay_with_adamw(in_a_layer, name):
    shape = (3, 3, 8, 1) if "kernel" in name else (8,)
    start, gradients = random(*shape), [random(*shape)]
    assert stepped(Muon(**SETTINGS), start, gradients, name) == pytest.approx(
        stepped(keras.optimizers.Muon(**SETTINGS), start, gradients, name)
    )


def test_the_layer_that_tells_classes_stays_with_adamw():
    start, gradients = random(16, 10), [random(16, 10)]
    with keras.name_scope("probabilities"):
        ours = stepped(Muon(**SETTINGS), start, gradients, "kernel")
    adam = keras.optimizers.Muon(**SETTINGS, exclude_layers=["kernel"])
    assert ours == pytest.approx(stepped(adam, start, gradients, "kernel"))
