"""Test-time augmentation by horizontal flip, inside the model: averaging over an image and its mirror image."""

import keras
from keras import ops

from fashion.errors import InputError
from fashion.models import keras_graph
from fashion.models.blocks import last_dense


def flip_averaged(model: keras.Model) -> keras.Model:
    """Return a model that computes the features of each image and of its mirror image, and averages them.

    The input of the last layer is averaged, so the probabilities are the normalised geometric mean of both (flip
    averaging at test time: Krizhevsky et al., 2012). Layers and weights are shared; the arithmetic doubles.

    Args:
        model: ``(n, h, w, c)`` to ``(n, classes)`` probabilities, of stock layers, a dense one last.

    Raises:
        InputError: When the last layer is not dense.
    """
    found = last_dense(model)
    if not found:
        raise InputError("trainer.flip_average: got a model that does not end in a dense layer; set it to false")
    last, features = found
    trunk = keras.Model(model.input, features)
    # The layers are called again rather than nested in a model, so that code which looks for layers finds them.
    mirrored = keras_graph.run(trunk, ops.flip(model.input, axis=2), lambda layer: layer)
    # Not in the policy of a training in bfloat16, which is still set when its model is saved.
    average = keras.layers.Average(name="flip_average", dtype=last.dtype_policy)
    both = average([features, keras.tree.flatten(mirrored)[0]])
    return keras.Model(model.input, last(both), name=model.name)
