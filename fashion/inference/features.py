"""Which tensors of a network say whether it has seen the like."""

import keras

from fashion.models.blocks import last_dense

LEAST_SIDE = 2
LEAST_CHANNELS = 2  # one is the picture itself


def feature_tensors(model: keras.Model) -> list[keras.KerasTensor]:
    """Return what goes into the last layer, and the spatial means of the narrowest layer at each resolution.

    Args:
        model: A functional or sequential model from images to probabilities.

    Returns:
        Tensors ``(n, d)``: one, if no layer keeps a map of 2 x 2 or more; none, if the last layer is not dense.
    """
    found = last_dense(model)
    if not found:
        return []
    _, penultimate = found
    narrowest: dict[tuple[int, ...], keras.KerasTensor] = {}
    for layer in model.layers:
        # A layer may be called more than once (see fashion.models.flip_tta): first for the image as it is.
        tensor = layer._inbound_nodes[0].output_tensors[0]
        if not isinstance(tensor, keras.KerasTensor) or len(tensor.shape) != 4:
            continue
        _, height, width, channels = tensor.shape
        if min(height, width) < LEAST_SIDE or channels < LEAST_CHANNELS:
            continue
        known = narrowest.get((height, width))
        if known is None or channels <= known.shape[-1]:  # of equals the last, which has seen most
            narrowest[height, width] = tensor
    means = [keras.layers.GlobalAveragePooling2D()(tensor) for tensor in narrowest.values()]
    spatial = [keras.layers.Concatenate()(means)] if len(means) > 1 else means
    return [penultimate, *spatial]
