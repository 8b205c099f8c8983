"""That fewer programs make the same values."""

import contextlib

import keras
import numpy as np
import pytest

from fashion.backend.initial_values import few_programs

pytestmark = pytest.mark.backend


@pytest.fixture
def traces(keras_backend):
    """The names of the programs that JAX traces."""
    if keras_backend != "jax":
        pytest.skip("counts programs of JAX")
    import jax

    seen: list[str] = []

    def listener(event: str, duration: float, **details: str) -> None:
        if event == "/jax/core/compile/jaxpr_trace_duration" and details["fun_name"] != "stage":  # which copies
            seen.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listener)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listener)


def values(block: contextlib.AbstractContextManager[None], filters: int) -> list[np.ndarray]:
    """The initial weights of a network with several initializers, and the variables of its optimizer."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    with block:
        model = keras.Sequential([keras.Input((9, 9, 1))])
        for initializer in ("glorot_uniform", "he_normal", "random_normal"):
            for more in range(2):
                model.add(layers.Conv2D(filters + more, 3, padding="same", kernel_initializer=initializer))
                model.add(layers.BatchNormalization())
        optimizer = keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
    return [keras.ops.convert_to_numpy(variable) for variable in (*model.variables, *optimizer.variables)]


def test_the_values_are_the_same_bits():
    for plain, fewer in zip(values(contextlib.nullcontext(), 5), values(few_programs(), 5), strict=True):
        assert plain.dtype == fewer.dtype
        assert plain.tobytes() == fewer.tobytes()


def test_other_shapes_share_the_programs(traces):
    values(few_programs(), 21)
    traces.clear()
    values(few_programs(), 23)
    assert traces == []
    values(contextlib.nullcontext(), 25)
    assert traces.count("_uniform") == 2


def test_afterwards_jax_is_as_it_was(keras_backend):
    if keras_backend != "jax":
        pytest.skip("is about JAX")
    import jax

    before = (jax.random.normal, jax.numpy.zeros)
    with contextlib.suppress(ValueError), few_programs():
        assert jax.random.normal is not before[0]
        raise ValueError
    assert (jax.random.normal, jax.numpy.zeros) == before
