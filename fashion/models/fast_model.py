"""A model computed by this project's CPU kernels, on the same layers and weights as its plain Keras form."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fashion.backend.devices import on_cpu
from fashion.models import keras_graph
from fashion.models.keras_graph import call_that_made, flatten_layers, has_graph
from fashion.models.kernels import Layer, kernels_of_backend


def is_faster(model: keras.Model) -> bool:
    """Return whether the CPU kernels make this model faster, on this backend and device."""
    return has_graph(model) and on_cpu() and kernels_of_backend().worthwhile(flatten_layers(model))


def fast_layers(model: keras.Model) -> keras.Model:
    """Return the same layers and weights, computed by ``jax_kernels`` or ``tensorflow_kernels`` where those are faster.

    Both models share their weights: training one trains the other. To save a fast model, save ``stock_layers(fast)``.

    Args:
        model: Functional or sequential model, nested ones included, on images ``(n, h, w, c)``.
    """
    return FastModel(model.input, model.output, name=model.name) if is_faster(model) else model


def stock_layers(model: keras.Model, dtype: str | None = None, *, copy: bool = False) -> keras.Model:
    """Return the same layers and weights as plain Keras: the inverse of ``fast_layers``.

    Args:
        model: Functional or sequential model, fast or not.
        dtype: Dtype policy of every layer, such as ``"float32"``; None keeps each layer's own. If a layer has another
            policy, the result is a copy with weights of its own.
        copy: Whether it is one in any case.
    """
    if copy or (dtype is not None and any(layer.dtype_policy.name != dtype for layer in flatten_layers(model))):
        return _copy(model, dtype)
    return keras.Model(model.input, model.output, name=model.name)


class FastModel(keras.Model):
    """A functional model that computes each layer with a kernel of this project, where there is one.

    The model calls the kernels, not the layers, because on JAX they share a memory layout of their own: a transpose
    per layer would cost more than the layer (``(96, 16, 16, 128)``: 2.3-10 ms against 0.5 ms), and XLA does not cancel
    transposes across residual sums.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None, **kwargs: Any) -> Any:
        """Run the layers in order; see ``keras.Model.call``."""
        if mask is not None or isinstance(inputs, keras.KerasTensor) or len(np.shape(inputs)) != 4:
            return super().call(inputs, training=training, mask=mask, **kwargs)
        kernels = kernels_of_backend()
        table = kernels.table(inputs.shape[0])

        def faster(layer: Layer) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                kernel = table.get(type(layer))
                if kernel is not None and len(args) == 1 and layer.activity_regularizer is None:
                    result = kernel(layer, args[0], training)
                    if result is not None:
                        return result
                args, kwargs = keras.tree.map_structure(kernels.stock_layout, (args, kwargs))
                plain = all(value is None for value in kwargs.values())
                if isinstance(layer, keras.Model) and plain and has_graph(layer):
                    return walk(layer, args[0])
                if isinstance(layer, keras.Layer) and training is not None:
                    kwargs["training"] = training
                return layer(*args, **kwargs)

            return call

        def walk(model: keras.Model, inputs: Any) -> Any:
            outputs = keras_graph.run(model, inputs, faster)
            return keras.tree.map_structure(kernels.stock_layout, outputs)

        return walk(self, inputs)


def _copy(model: keras.Model, dtype: str | None) -> keras.Model:
    def copy_layer(layer: Layer) -> Layer:
        if isinstance(layer, keras.Model):
            return rebuild(layer)
        return type(layer).from_config(layer.get_config() | ({"dtype": dtype} if dtype else {}))

    def rebuild(model: keras.Model) -> keras.Model:
        # Passed explicitly, because clone_model would name the input layers after the tensors.
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=call_that_made(x).operation.name),
            model.input,
        )
        clone = keras.models.clone_model(model, input_tensors=inputs, clone_function=copy_layer)
        return keras.Model(clone.input, clone.output, name=model.name)

    copy = rebuild(model)
    for new, old in zip(copy.variables, model.variables, strict=True):
        # A real copy: training donates the buffers of its variables, and would invalidate the other model's. Made by
        # NumPy, because the devices of a variable may be those of several processes.
        new.assign(np.array(keras.ops.convert_to_numpy(old)))
    return copy
