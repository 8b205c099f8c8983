"""The tensors of a network that out-of-distribution scores are computed from."""

import keras

from fashion.models.blocks import last_dense
from fashion.models.keras_graph import first_call

MIN_MAP_SIDE = 2
# A covariance of more features takes gigabytes and minutes: those of a last layer on a flattened map of a large image.
MAX_FEATURES = 4_096


def feature_tensors(model: keras.Model) -> list[keras.KerasTensor]:
    """Return the input of the last layer, and the spatial means of the narrowest layer at each resolution.

    Args:
        model: A functional or sequential model from images to probabilities.

    Returns:
        Tensors ``(n, d)``: only one if no layer has a map of 2 x 2 or more, none if the last layer is not dense,
        or has more than 4,096 inputs.
    """
    found = last_dense(model)
    if not found:
        return []
    _, penultimate = found
    if penultimate.shape[-1] > MAX_FEATURES:
        return []
    narrowest: dict[tuple[int, ...], tuple[str, keras.KerasTensor]] = {}
    for layer in model.layers:
        # A layer may be called more than once (see fashion.models.view_average): first on the image itself.
        tensor = first_call(layer).outputs[0]
        if not isinstance(tensor, keras.KerasTensor) or len(tensor.shape) != 4:
            continue
        _, height, width, channels = tensor.shape
        if min(height, width) < MIN_MAP_SIDE or channels <= model.input_shape[-1]:  # no more than the image itself
            continue
        best = narrowest.get((height, width))
        if best is None or channels <= best[1].shape[-1]:  # among equals the last, which is the deepest
            narrowest[height, width] = layer.name, tensor
    # In float32, whatever the training's policy was: the model that is loaded later has no other.
    means = [
        keras.layers.GlobalAveragePooling2D(dtype="float32", name=f"{name}_mean")(tensor)
        for name, tensor in narrowest.values()
    ]
    spatial = [keras.layers.Concatenate(dtype="float32", name="spatial_means")(means)] if len(means) > 1 else means
    return [penultimate, *spatial]
