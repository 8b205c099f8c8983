"""What a model costs: parameters, arithmetic, time."""

import time
from typing import Any

import keras
import numpy as np

from fashion.evaluation.records import Cost
from fashion.inference.engine import Engine
from fashion.models.keras_graph import calls

TIMED_CALLS, WARM_UP_CALLS = 100, 5


def network_cost(model: keras.Model) -> Cost:
    """Return the number of trained parameters, and of multiply-adds for one image."""
    return Cost(parameters(model), graph_multiply_adds(model))


def parameters(model: keras.Model) -> int:
    """Return how many parameters are trained; the statistics of batch normalisation are not."""
    return int(sum(np.prod(variable.shape) for variable in model.trainable_weights))


def graph_multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of every call of every layer: one that is called twice computes twice."""
    return sum(
        graph_multiply_adds(call.operation)
        if isinstance(call.operation, keras.Model)
        else multiply_adds(call.operation, call.outputs[0].shape)
        for call in calls(model)
    )


def multiply_adds(layer: Any, output_shape: tuple[Any, ...]) -> int:
    """Return the multiply-adds of a convolution or dense layer for one image, and 0 for any other.

    Each output is a sum of products; normalisation, activation, addition and pooling add a few percent at most.

    Args:
        layer: Any layer or operation.
        output_shape: Output shape of one call of it, with the batch axis first.
    """
    if not isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
        return 0
    outputs = int(np.prod(output_shape[1:]))
    kernel = layer.kernel.shape
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return outputs * kernel[0] * kernel[1]
    return outputs * int(np.prod(kernel[:-1]))


def single_image_milliseconds(engine: Engine, image_shape: tuple[int, ...]) -> float:
    """Return the median time of predicting one image of a height, a width and channels."""
    image = np.zeros((1, *image_shape), np.uint8)
    seconds = []
    for call in range(WARM_UP_CALLS + TIMED_CALLS):
        started = time.perf_counter()
        engine.predict(image)
        if call >= WARM_UP_CALLS:
            seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))
