"""What a model costs: parameters, arithmetic, time."""

import itertools
import time
from typing import Any

import keras
import numpy as np

from fashion.inference.predictor import Predictor

TIMED_CALLS, WARM_UP_CALLS = 100, 5


def of_network(model: keras.Model) -> dict[str, int]:
    """Return the number of trained parameters and of multiply-adds for one image."""
    return {"parameters": parameters(model), "multiply_adds": _multiply_adds_of_graph(model)}


def parameters(model: keras.Model) -> int:
    """Return how many parameters are trained; the statistics of batch normalisation are not."""
    return int(sum(np.prod(variable.shape) for variable in model.trainable_weights))


def _multiply_adds_of_graph(model: Any) -> int:
    """Add up every call of every layer: one that is called twice computes twice."""
    total = 0
    for node in itertools.chain(*getattr(model, "_functional", model)._nodes_by_depth.values()):
        operation = node.operation
        if isinstance(operation, keras.Model):
            total += _multiply_adds_of_graph(operation)
        else:
            total += multiply_adds(operation, node.output_tensors[0].shape)
    return total


def multiply_adds(layer: Any, output_shape: tuple[Any, ...]) -> int:
    """Return the multiply-adds of a convolution or dense layer for one image, and 0 for any other.

    Each output is a sum of products; what normalises, activates, adds or pools is a few percent beside it.

    Args:
        layer: Any layer or operation.
        output_shape: Of one call of it, the number of images first.
    """
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
        return 0
    outputs = int(np.prod(output_shape[1:]))
    kernel = layer.kernel.shape
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return outputs * kernel[0] * kernel[1]
    return outputs * int(np.prod(kernel[:-1]))


def one_image_milliseconds(predictor: Predictor) -> float:
    """Return the median time of an answer to one image."""
    image = np.zeros((1, 28, 28), np.uint8)
    seconds = []
    for call in range(WARM_UP_CALLS + TIMED_CALLS):
        started = time.perf_counter()
        predictor.predict(image)
        if call >= WARM_UP_CALLS:
            seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))
