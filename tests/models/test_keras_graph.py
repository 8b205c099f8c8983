"""The contract with Keras's private API: what ``fashion.models.keras_graph`` relies on, in the series named here."""

import ast
import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from fashion.models import keras_graph
from fashion.models.fast_model import FastModel
from fashion.paths import PROJECT

KERAS_SERIES = "3.15"
PRIVATE = {
    "_functional", "_inbound_nodes", "_keras_history", "_nodes_by_depth", "_run_through_graph", "_standardize_inputs",
}  # fmt: skip

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def shared() -> layers.Dense:
    return layers.Dense(3, name="shared")


@pytest.fixture(scope="module")
def model(shared: layers.Dense) -> keras.Model:
    """Two calls of one layer, and a nested model."""
    inputs = keras.Input((3,), name="numbers")
    nested = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="inner")], name="nested")
    both = layers.Add(name="both")([shared(inputs), shared(ops.flip(inputs, axis=1))])
    return keras.Model(inputs, nested(both))


def test_the_installed_keras_is_of_the_checked_series():
    constraint = re.search(r"^keras==(\S+)$", (PROJECT / "constraints.txt").read_text(), re.MULTILINE)
    for version in (keras.__version__, constraint[1]):
        assert version.rsplit(".", 1)[0] == KERAS_SERIES, (
            f"Keras {version}: run the tests of this file with it, then name its series in KERAS_SERIES"
        )


def test_the_private_api_is_used_in_one_file_alone():
    used = {}
    for file in (PROJECT / "fashion").rglob("*.py"):
        text = file.read_text()
        assert "keras.src" not in text, file
        names = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
        if names & PRIVATE:
            used[file.name] = names & PRIVATE
    assert used == {"keras_graph.py": PRIVATE}


def test_the_private_attributes_exist(model, shared):
    assert isinstance(model.get_layer("nested")._functional, keras.Function)
    assert keras.Sequential([layers.Dense(2)])._functional is None
    assert len(shared._inbound_nodes) == 2
    assert model.output._keras_history[:2] == (model.get_layer("nested"), 0)
    nodes = [node for nodes in model._nodes_by_depth.values() for node in nodes]
    assert all(hasattr(node, name) for node in nodes for name in ("operation", "input_tensors", "output_tensors"))
    assert callable(model._run_through_graph)
    assert callable(model._standardize_inputs)


def test_functional_and_built_sequential_models_have_a_graph(model):
    class Subclassed(keras.Model):
        pass

    sequential = keras.Sequential([layers.Dense(2)])
    assert not keras_graph.has_graph(sequential)
    sequential.build((None, 3))
    for each in (model, sequential, FastModel(model.input, model.output)):
        assert keras_graph.has_graph(each)
    assert not keras_graph.has_graph(Subclassed())
    assert not keras_graph.has_graph(layers.Dense(2))


def test_every_call_is_listed_once_and_a_nested_model_is_one_call(model):
    names = sorted(call.operation.name for call in keras_graph.calls(model))
    assert [re.sub(r"_\d+$", "", name) for name in names] == ["both", "flip", "nested", "numbers", "shared", "shared"]
    inner = [call.operation for call in keras_graph.calls(model.get_layer("nested"))]
    assert [type(operation) for operation in inner] == [layers.Dense, layers.InputLayer]


def test_a_tensor_leads_to_the_call_that_made_it(model, shared):
    first, second = keras_graph.call_that_made(model.get_layer("both").output).inputs
    assert keras_graph.call_that_made(first) == keras_graph.first_call(shared)
    made = keras_graph.call_that_made(second)
    assert made.operation is shared
    assert made.outputs[0] is second
    assert keras_graph.call_that_made(made.inputs[0]).operation.name.startswith("flip")
    origin = keras_graph.call_that_made(model.input)
    assert (origin.operation.name, origin.inputs) == ("numbers", [])


def test_layers_of_nested_models_follow_them(model):
    names = [layer.name for layer in keras_graph.flatten_layers(model)]
    assert names == [*(layer.name for layer in model.layers), "inner"]


def test_operations_run_in_order_with_the_code_that_is_given(model):
    numbers = np.random.default_rng(0).random((4, 3), np.float32)
    seen = []

    def execute(operation):
        seen.append(operation.name)
        return operation

    outputs = keras_graph.run(model, numbers, execute)
    assert np.array_equal(ops.convert_to_numpy(outputs), ops.convert_to_numpy(model(numbers)))
    assert seen.count("shared") == 2
    assert seen.index("nested") == len(seen) - 1
    doubled = keras_graph.run(model, numbers, lambda operation: lambda *args, **kwargs: 2 * operation(*args))
    assert not np.allclose(ops.convert_to_numpy(doubled), ops.convert_to_numpy(outputs))


def test_a_symbolic_run_calls_the_same_layers_again(model, shared):
    before = len(shared._inbound_nodes)
    output = keras_graph.run(model, keras.Input((3,)), lambda operation: operation)
    assert isinstance(output, keras.KerasTensor)
    assert len(shared._inbound_nodes) == before + 2


def test_functional_models_pass_training_to_layers_alone(model):
    """``FastModel`` does as ``keras.Model.call`` does: operations that are no layers take no ``training``."""
    assert not isinstance(keras_graph.call_that_made(ops.flip(model.input)).operation, keras.Layer)
    dropout = keras.Model(model.input, layers.Dropout(0.5)(ops.flip(model.input, axis=1)))
    numbers = np.ones((64, 3), np.float32)
    assert (ops.convert_to_numpy(dropout(numbers, training=True)) == 0).any()
    assert (ops.convert_to_numpy(dropout(numbers, training=False)) == 1).all()
