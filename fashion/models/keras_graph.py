"""The graph of calls behind a functional model: the one place that uses Keras's private API.

Keras has no public way to ask which call made a tensor, or to run the layers of a model with other code than their own.
``tests/models/test_keras_graph.py`` names the Keras series that this module was checked with.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras

# A layer, or a function such as ``ops.flip`` called on symbolic tensors; Keras has no types to check against.
Operation = Any


class Call(NamedTuple):
    """One call of an operation on symbolic tensors; a layer has one for each place where a model uses it.

    Attributes:
        operation: What was called.
        inputs: The tensors it was called on.
        outputs: The tensors it returned.
    """

    operation: Operation
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]


def has_graph(model: Operation) -> bool:
    """Return whether a model is made of calls: functional, or sequential and built."""
    return isinstance(_function(model), keras.Function)


def calls(model: keras.Model) -> Iterator[Call]:
    """Yield every call of every operation of a model that has a graph; nested models count as one operation."""
    for nodes in _function(model)._nodes_by_depth.values():
        yield from map(_call, nodes)


def first_call(layer: keras.Layer) -> Call:
    """Return the first call of a layer that was called on a symbolic tensor at least once."""
    return _call(layer._inbound_nodes[0])


def call_that_made(tensor: keras.KerasTensor) -> Call:
    """Return the call that returned this tensor; for an input, that of its input layer, on nothing."""
    operation, index, _ = tensor._keras_history
    return _call(operation._inbound_nodes[index])


def flatten_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of a model, then of the models nested in it; the nested models are among them."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from flatten_layers(layer)


def run(model: keras.Model, inputs: Any, execute: Callable[[Operation], Callable[..., Any]]) -> Any:
    """Run the operations of a model in order.

    Args:
        model: A model that has a graph.
        inputs: Arrays or symbolic tensors, structured as the model's inputs.
        execute: From an operation to the function that is called in its place, with the same arguments.

    Returns:
        Outputs, structured as the model's outputs.
    """
    function = _function(model)
    if not isinstance(inputs, keras.KerasTensor):
        inputs = function._standardize_inputs(inputs)
    return function._run_through_graph(inputs, operation_fn=execute)


def _function(model: Operation) -> Any:
    """Return the functional model that a sequential one runs, None before it is built, and any other model itself."""
    return model._functional if isinstance(model, keras.Sequential) else model


def _call(node: Any) -> Call:
    return Call(node.operation, node.input_tensors, node.output_tensors)
