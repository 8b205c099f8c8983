"""Muon on kernels of convolutions, against Keras's on the same matrices."""

import keras
import numpy as np
import pytest

from fashion.backend.selection import seed_everything
from fashion.training.muon import Muon
from fashion.training.schedules import one_cycle

pytestmark = pytest.mark.backend

SETTINGS = {"learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0.9, "adam_weight_decay": 0.02}


def stepped(optimizer: keras.optimizers.Optimizer, start: np.ndarray, gradients: list[np.ndarray], path: str):
    variable = keras.Variable(start, name=path)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)


def layout(optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]) -> list[tuple[str, tuple[int, ...]]]:
    optimizer.build(variables)
    return [(variable.name, tuple(variable.shape)) for variable in optimizer.variables]


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


@pytest.mark.parametrize("shape", [(16, 5), (5, 16)])
def test_a_matrix_is_updated_as_by_keras_to_the_bit(shape):
    """In a compiled step with a schedule, of which TensorFlow reorders the multiplications."""
    inputs, labels = random(32, shape[0]), np.arange(32) % 3
    weights = []
    for optimizer in (Muon(**SETTINGS), keras.optimizers.Muon(**SETTINGS, exclude_layers=["probabilities"])):
        optimizer.learning_rate = one_cycle(0.3, peak=0.1, steps=6)
        seed_everything(0)
        model = keras.Sequential(
            [
                keras.Input((shape[0],)),
                keras.layers.Dense(shape[1], activation="relu", name="hidden"),
                keras.layers.Dense(3, activation="softmax", name="probabilities"),
            ]
        )
        model.compile(optimizer, "sparse_categorical_crossentropy")
        model.fit(inputs, labels, batch_size=8, epochs=2, shuffle=False, verbose=0)
        weights.append([*model.get_weights(), *map(keras.ops.convert_to_numpy, model.optimizer.variables)])
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(*weights, strict=True))


def test_the_state_has_the_layout_of_earlier_releases_so_that_their_runs_resume(in_a_layer):
    shapes = {"kernel": (3, 3, 4, 6), "bias": (6,), "depthwise_kernel": (3, 3, 4, 1)}
    variables = [keras.Variable(np.zeros(shape, np.float32), name=name) for name, shape in shapes.items()]
    assert layout(Muon(**SETTINGS, use_ema=True), variables) == [
        ("iteration", ()),
        ("learning_rate", ()),
        *[(f"conv_{name}_average", shape) for name, shape in shapes.items()],
        ("conv_kernel_momentum", (3, 3, 4, 6)),
        ("conv_bias_momentum", (6,)),
        ("conv_bias_velocity", (6,)),
        ("conv_depthwise_kernel_momentum", (3, 3, 4, 1)),
        ("conv_depthwise_kernel_velocity", (3, 3, 4, 1)),
    ]


def test_its_configuration_makes_the_same_optimizer():
    config = Muon(**SETTINGS, nesterov=False, epsilon=1e-6, clipnorm=1.0).get_config()
    assert {name: config[name] for name in SETTINGS} == pytest.approx(SETTINGS)
    assert Muon.from_config(dict(config)).get_config() == config


def test_an_update_has_singular_values_near_one(in_a_layer):
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


def test_the_classifier_stays_with_adamw():
    start, gradients = random(16, 10), [random(16, 10)]
    with keras.name_scope("probabilities"):
        ours = stepped(Muon(**SETTINGS), start, gradients, "kernel")
    adam = keras.optimizers.Muon(**SETTINGS, exclude_layers=["kernel"])
    assert ours == pytest.approx(stepped(adam, start, gradients, "kernel"))
