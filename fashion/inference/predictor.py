"""A trained model, ready to answer: compiled for a few batch sizes, fed with pixels."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fashion import artifact
from fashion.inference.features import feature_tensors
from fashion.models.fast_model import fast_layers
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty, Prediction

# XLA compiles once for each batch size, seconds each; other counts are padded up to the next of these.
BATCH_SIZES = (1, 8, 64, 512)

# For a few images the weights are constants of the program, which XLA can fold and pack: one image takes 1.0 ms
# instead of 1.6. Larger batches gain a tenth, and as arguments every model's evaluation shares one compiled program.
LARGEST_FROZEN_BATCH = 8


class Predictor:
    """Calibrated class probabilities of 28 x 28 grey images, and how unlike the training images they are.

    Args:
        model: ``(n, 28, 28, 1)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
        features: Whether to compute the features that abstention looks at, in the same pass.
    """

    def __init__(self, model: keras.Model, *, features: bool = False) -> None:
        tensors = feature_tensors(model) if features else []
        self._forward = compiled(fast_layers(keras.Model(model.input, [model.output, *tensors]) if tensors else model))
        self.uncertainty = PosthocUncertainty()

    @classmethod
    def load(cls, path: Path) -> tuple["Predictor", artifact.Artifact]:
        """Load and verify an artifact (see ``fashion.artifact.load``), with the trust that its card tells of."""
        loaded = artifact.load(path)
        uncertainty = PosthocUncertainty.from_card(loaded.card)
        return cls(loaded.model, features=uncertainty.abstention is not None).with_uncertainty(uncertainty), loaded

    def with_uncertainty(self, uncertainty: PosthocUncertainty) -> "Predictor":
        """Return the same compiled predictor, answering with another uncertainty."""
        other = copy.copy(self)
        other.uncertainty = uncertainty
        return other

    def predict(self, images: np.ndarray) -> Prediction:
        """Answer images.

        Args:
            images: ``(n, 28, 28)`` uint8, 0-255, or float32 in [0, 1].
        """
        return self.uncertainty.prediction(self.outputs(images))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return ``(n, classes)`` float32 calibrated probabilities of images, given as to ``predict``."""
        return self.predict(images).probabilities

    def outputs(self, images: np.ndarray) -> Outputs:
        """Return what the network itself computes of images, given as to ``predict``."""
        largest = BATCH_SIZES[-1]
        parts = [self._batch(images[start : start + largest]) for start in range(0, len(images), largest)]
        probabilities, *features = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        return Outputs(probabilities, tuple(features))

    def _batch(self, images: np.ndarray) -> list[np.ndarray]:
        count = len(images)
        size = next(size for size in BATCH_SIZES if size >= count)
        batch = np.zeros((size, 28, 28, 1), np.float32)
        batch[:count, ..., 0] = images if images.dtype == np.float32 else images.astype(np.float32) / 255
        computed = self._forward(batch)
        return [np.asarray(rows)[:count] for rows in (computed if isinstance(computed, list | tuple) else [computed])]


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
