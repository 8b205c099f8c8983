"""A trained model, ready to predict: compiled for a few batch sizes, fed with pixels."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fashion import artifact
from fashion.arrays import ModelInputs, Pixels, Probabilities
from fashion.data.image_rows import ImageArray
from fashion.inference.batcher import batch_sizes
from fashion.inference.features import feature_tensors
from fashion.models.fast_model import fast_layers
from fashion.uncertainty.posthoc import Outputs, PosthocUncertainty, Prediction

# For a few images the weights are constants of the program, which XLA can fold and pack: one image takes 1.0 ms
# instead of 1.6. Larger batches gain a tenth, and as arguments every model's evaluation shares one compiled program.
MAX_FROZEN_BATCH = 8


class Predictor:
    """Predicts calibrated class probabilities of images, and how far out of distribution they are.

    Args:
        model: ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
        features: Whether to compute the inputs of abstention in the same pass.

    Attributes:
        image_shape: Height, width and channels of the images.
        batch_sizes: The numbers of images that a batch is padded to, ascending.
        uncertainty: Calibration and abstention.
    """

    def __init__(self, model: keras.Model, *, features: bool = False) -> None:
        tensors = feature_tensors(model) if features else []
        self._forward = compiled(fast_layers(keras.Model(model.input, [model.output, *tensors]) if tensors else model))
        self.image_shape: tuple[int, int, int] = model.input_shape[1:]
        self.batch_sizes = batch_sizes(self.image_shape)
        self.uncertainty = PosthocUncertainty()

    @classmethod
    def load(cls, path: Path) -> tuple["Predictor", artifact.Artifact]:
        """Load and verify an artifact (see ``fashion.artifact.load``), with the uncertainty in its card."""
        loaded = artifact.load(path)
        uncertainty = PosthocUncertainty.from_card(loaded.card)
        return cls(loaded.model, features=uncertainty.abstention is not None).with_uncertainty(uncertainty), loaded

    def with_uncertainty(self, uncertainty: PosthocUncertainty) -> "Predictor":
        """Return the same compiled predictor with another uncertainty."""
        other = copy.copy(self)
        other.uncertainty = uncertainty
        return other

    def predict(self, images: Pixels | ImageArray) -> Prediction:
        """Return the predictions for images."""
        return self.uncertainty.prediction(self.outputs(images))

    def probabilities(self, images: Pixels | ImageArray) -> Probabilities:
        """Return the calibrated probabilities of images."""
        return self.predict(images).probabilities

    def outputs(self, images: Pixels | ImageArray) -> Outputs:
        """Return what the network itself computes for images."""
        largest = self.batch_sizes[-1]
        parts = [self._batch(images[start : start + largest]) for start in range(0, len(images), largest)]
        probabilities, *features = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        return Outputs(probabilities, tuple(features))

    def _batch(self, images: Pixels) -> list[np.ndarray]:
        count = len(images)
        size = next(size for size in self.batch_sizes if size >= count)
        batch = np.zeros((size, *self.image_shape), np.float32)
        batch[:count] = images if images.dtype == np.float32 else images.astype(np.float32) / 255
        computed = self._forward(batch)
        return [np.asarray(rows)[:count] for rows in (computed if isinstance(computed, list | tuple) else [computed])]


def compiled(model: keras.Model) -> Callable[[ModelInputs], Any]:
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

    def run(batch: ModelInputs) -> Any:
        return these_weights(batch) if len(batch) <= MAX_FROZEN_BATCH else any_weights(trainable, fixed, batch)

    return run
