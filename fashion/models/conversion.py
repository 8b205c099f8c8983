"""One model, two ways to compute it: with this project's CPU kernels, or as plain Keras."""

import importlib

import keras


def should_use(model: keras.Model) -> bool:
    """Return whether the CPU kernels are the faster way: on JAX without a GPU, for a functional or sequential model."""
    if keras.backend.backend() != "jax" or importlib.import_module("jax").default_backend() != "cpu":
        return False
    return hasattr(model, "_run_through_graph") or (isinstance(model, keras.Sequential) and model.built)


def fast_layers(model: keras.Model) -> keras.Model:
    """Clone a model so that it runs on the kernels of ``cpu_kernels``; return it as it is where they are not faster.

    The clone has its own variables, with the values of ``model``, and the same layers: names, configurations, dtype
    policies and order of weights. To save it, save ``stock_layers(clone)``.

    Args:
        model: Functional or sequential model, nested ones included, on images ``(n, h, w, c)``.
    """
    if not should_use(model):
        return model
    from fashion.models.cpu_kernels import ChannelMajorModel  # imports JAX, which other backends do without

    return _clone(model, ChannelMajorModel)


def stock_layers(model: keras.Model, dtype: str | None = None) -> keras.Model:
    """Clone a model into plain Keras, weights copied: the inverse of ``fast_layers``.

    Args:
        model: Functional or sequential model, fast or not.
        dtype: Dtype policy of every layer of the clone, such as ``"float32"``; None keeps each layer's own.
    """
    return _clone(model, keras.Model, dtype)


def _clone(model: keras.Model, model_class: type[keras.Model], dtype: str | None = None) -> keras.Model:
    def clone_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return rebuild(layer)
        config = layer.get_config()
        if dtype is not None:
            config["dtype"] = dtype
        return type(layer).from_config(config)

    def rebuild(model: keras.Model) -> keras.Model:
        # Given explicitly, because clone_model would name the input layers after the tensors.
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x._keras_history.operation.name), model.input
        )
        clone = keras.models.clone_model(model, input_tensors=inputs, clone_function=clone_layer)
        return model_class(clone.input, clone.output, name=model.name)

    clone = rebuild(model)
    for new, old in zip(clone.variables, model.variables, strict=True):
        # A copy: training gives its buffers away, and would take them from the other model too.
        new.assign(keras.ops.copy(old))
    return clone
