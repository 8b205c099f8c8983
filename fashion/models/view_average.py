"""Test-time augmentation inside the model: averaging over an image, its mirror image, and both shifted by a pixel."""

import keras
from keras import ops

from fashion.errors import InputError
from fashion.models import keras_graph
from fashion.models.blocks import last_dense

SHIFTS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # pixels down, pixels right


def view_averaged(model: keras.Model, *, flip: bool, shift: bool) -> keras.Model:
    """Return a model that computes the features of several views of each image, and averages them.

    The input of the last layer is averaged, so the probabilities are the normalised geometric mean of those of the
    views (averaging at test time: Krizhevsky et al., 2012). Layers and weights are shared; the arithmetic grows with
    the number of views: 2, 5, or 10 with both.

    Args:
        model: ``(n, h, w, c)`` to ``(n, classes)`` probabilities, of stock layers, a dense one last.
        flip: Whether the mirror image of each view is another view.
        shift: Whether the image shifted by a pixel in each of the four directions is; black moves in at the edge.

    Raises:
        InputError: When the last layer is not dense.
    """
    found = last_dense(model)
    if not found:
        key = "flip_average" if flip else "shift_average"
        raise InputError(f"trainer.{key}: got a model that does not end in a dense layer; set it to false")
    last, features = found
    # Not in the policy of a training in bfloat16, which is still set when its model is saved.
    policy = last.dtype_policy
    views = [_shifted(model.input, down, right, policy) for down, right in SHIFTS] if shift else []
    if flip:
        views += [ops.flip(view, axis=2) for view in (model.input, *views)]
    trunk = keras.Model(model.input, features)
    # The layers are called again rather than nested in a model, so that code which looks for layers finds them.
    others = [keras.tree.flatten(keras_graph.run(trunk, view, lambda layer: layer))[0] for view in views]
    average = keras.layers.Average(name="view_average", dtype=policy)
    return keras.Model(model.input, last(average([features, *others])), name=model.name)


def _shifted(images: keras.KerasTensor, down: int, right: int, policy: keras.DTypePolicy) -> keras.KerasTensor:
    before = ((max(down, 0), max(-down, 0)), (max(right, 0), max(-right, 0)))
    after = tuple((end, start) for start, end in before)
    padded = keras.layers.ZeroPadding2D(before, dtype=policy)(images)
    return keras.layers.Cropping2D(after, dtype=policy)(padded)
