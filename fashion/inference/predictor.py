"""A trained model, ready to answer: compiled for a few batch sizes, fed with pixels."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fashion import artifact
from fashion.models.conversion import fast_layers

# XLA compiles once for each batch size, seconds each; other counts are padded up to the next of these.
BATCH_SIZES = (1, 8, 64, 512)

# For a few images the weights are constants of the program, which XLA can fold and pack: one image takes 1.0 ms
# instead of 1.6. Larger batches gain a tenth, and as arguments every model's evaluation shares one compiled program.
LARGEST_FROZEN_BATCH = 8


class Predictor:
    """Class probabilities of 28 x 28 grey images.

    Args:
        model: ``(n, 28, 28, 1)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
    """

    def __init__(self, model: keras.Model) -> None:
        self._forward = compiled(fast_layers(model))

    @classmethod
    def load(cls, path: Path) -> tuple["Predictor", artifact.Artifact]:
        """Load and verify an artifact (see ``fashion.artifact.load``)."""
        loaded = artifact.load(path)
        return cls(loaded.model), loaded

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return ``(n, classes)`` float32 probabilities of images.

        Args:
            images: ``(n, 28, 28)`` uint8, 0-255, or float32 in [0, 1].
        """
        largest = BATCH_SIZES[-1]
        parts = [self._batch(images[start : start + largest]) for start in range(0, len(images), largest)]
        return np.concatenate(parts)

    def _batch(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        size = next(size for size in BATCH_SIZES if size >= count)
        batch = np.zeros((size, 28, 28, 1), np.float32)
        batch[:count, ..., 0] = images if images.dtype == np.float32 else images.astype(np.float32) / 255
        return np.asarray(self._forward(batch))[:count]


def compiled(model: keras.Model) -> Callable[[np.ndarray], Any]:
    """Compile the forward pass once for each shape, without the bookkeeping of ``model.predict`` (11 ms a call)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda batch: model(batch, training=False), reduce_retracing=True, jit_compile=False)
    import jax

    trainable = [variable.value for variable in model.trainable_variables]
    fixed = [variable.value for variable in model.non_trainable_variables]

    def forward(trainable: list[Any], fixed: list[Any], batch: Any) -> Any:
        return model.stateless_call(trainable, fixed, batch, training=False)[0]

    any_weights = jax.jit(forward)
    these_weights = jax.jit(partial(forward, *jax.tree.map(np.asarray, (trainable, fixed))))

    def run(batch: np.ndarray) -> Any:
        return these_weights(batch) if len(batch) <= LARGEST_FROZEN_BATCH else any_weights(trainable, fixed, batch)

    return run
