"""The network that is trained: from raw pixels to probabilities, with augmentation and fast layers in one step."""

import difflib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from jaxtyping import Float32
from keras import ops

from fashion.arrays import Labels
from fashion.augment.mixup import Mixup
from fashion.backend.devices import undistributed
from fashion.data.batches import PADDING, EvaluationBatches
from fashion.errors import InputError
from fashion.models.fast_model import fast_layers, stock_layers
from fashion.models.keras_graph import flatten_layers
from fashion.models.view_average import view_averaged


def cross_entropy(label_smoothing: float) -> str | Callable[[Any, Any], Any]:
    """Return the loss of ``(n,)`` labels and ``(n, classes)`` probabilities.

    Args:
        label_smoothing: Share of the target probability that is spread evenly over all classes.
    """
    if not label_smoothing:
        return "sparse_categorical_crossentropy"

    def smoothed(labels: Any, probabilities: Any) -> Any:
        numbers = ops.cast(ops.reshape(labels, (-1,)), "int32")
        targets = ops.one_hot(numbers, probabilities.shape[-1])
        losses = keras.losses.categorical_crossentropy(targets, probabilities, label_smoothing=label_smoothing)
        return ops.where(numbers == PADDING, 0.0, losses)

    return smoothed


def balanced_weights(labels: Labels, classes: int) -> Float32[np.ndarray, " classes"]:
    """Return a weight for each class by which all classes weigh the same: images / (classes x images of the class).

    Args:
        labels: ``(n,)`` int64, of the training images.
        classes: How many there are; one without images gets the weight of one image.
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    weights: np.ndarray = len(labels) / (classes * counts)
    return weights.astype(np.float32)


class TrainingNetwork(keras.Model):
    """A model that takes raw pixels and augments them inside the compiled step.

    Args:
        model: ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities, of stock layers.
        augment: A layer that changes such images in training only.
        fast: Compute with this project's CPU kernels where they are faster; the weights are the same.
        flip_average: Whether the deployable model averages over an image and its mirror image.
        shift_average: Whether it averages over shifts by a pixel too; see ``fashion.models.view_average``.
        class_weights: ``(classes,)``, what an image of each class counts in the loss of training; None for 1.
        frozen_batch_norm: Whether batch normalisation keeps its statistics, scale and offset, and normalises in
            training as it does in inference.
        frozen_through: Name of a layer that keeps its weights, as do all layers that its output depends on; None for
            none.
        kept_losses: For how many of the last images that were trained on ``image_losses`` keeps the loss; 0 for none.

    Attributes:
        image_losses: ``(kept_losses,)`` float32 variable, newest last: cross-entropy of each image in the step
            that trained on it, without smoothing or weights; None where none is kept.

    Raises:
        InputError: When the model has no layer of that name.
    """

    def __init__(
        self,
        model: keras.Model,
        augment: keras.layers.Layer,
        *,
        fast: bool,
        flip_average: bool = False,
        shift_average: bool = False,
        class_weights: Float32[np.ndarray, " classes"] | None = None,
        frozen_batch_norm: bool = False,
        frozen_through: str | None = None,
        kept_losses: int = 0,
    ) -> None:
        super().__init__(name="training")
        self.flip_average, self.shift_average = flip_average, shift_average
        self.class_weights = class_weights
        self.augment = augment
        if frozen_batch_norm:
            for layer in flatten_layers(model):
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        if frozen_through is not None:
            for layer in _layers_through(model, frozen_through):
                layer.trainable = False
        self.core = fast_layers(model) if fast else model
        self.image_losses: keras.Variable | None = None
        if kept_losses:
            self.image_losses = self.add_weight(
                (kept_losses,), "zeros", "float32", trainable=False, autocast=False, name="image_losses"
            )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Let the augmentation check the shape, and mark the network as built: all variables exist already."""
        self.augment.build(input_shape)
        self.built = True

    def call(self, pixels: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, classes)`` float32 probabilities of ``(n, h, w, c)`` uint8 pixels, 0-255."""
        images = ops.cast(pixels, "float32") / 255
        return self.core(self.augment(images, training=training), training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the mean loss; in training with the classes' weights, and for mixed images with both their labels."""

        def loss(labels: Any) -> Any:
            weights = sample_weight
            if training and self.class_weights is not None:
                weights = ops.take(self.class_weights, labels)
            return super(TrainingNetwork, self).compute_loss(x, labels, y_pred, weights, training)

        if training and self.image_losses is not None:
            losses = ops.sparse_categorical_crossentropy(y, y_pred)
            self.image_losses.assign(ops.concatenate([self.image_losses[losses.shape[0] :], losses]))
        if training and isinstance(self.augment, Mixup):
            # The loss is linear in its targets: this is the loss of the mixed labels.
            return self.augment.share * loss(y) + (1 - self.augment.share) * loss(ops.flip(y, axis=0))
        return loss(y)

    def evaluate(self, x: Any = None, *arguments: Any, **options: Any) -> Any:
        """Return the losses and metrics of batches, as ``keras.Model.evaluate`` does.

        They are means over all images; those of padding added nothing to the sums, and are not counted here.
        """
        logs = super().evaluate(x, *arguments, **options)
        if not isinstance(x, EvaluationBatches) or x.padded == len(x.images):
            return logs
        return {name: mean * x.padded / len(x.images) for name, mean in logs.items()}

    def deployable(self) -> keras.Model:
        """Return the trained model with stock layers in float32, without augmentation: the model of the artifact."""
        distributed = keras.distribution.distribution() is not None
        with undistributed():
            model = stock_layers(self.core, dtype="float32", copy=distributed)
            if not (self.flip_average or self.shift_average):
                return model
            return view_averaged(model, flip=self.flip_average, shift=self.shift_average)


def _layers_through(model: keras.Model, name: str) -> list[keras.layers.Layer]:
    names = [layer.name for layer in model.layers]
    if name not in names:
        close = difflib.get_close_matches(name, names)
        hint = f"did you mean {' or '.join(close)}?" if close else f"such as {names[len(names) // 2]}"
        raise InputError(f"trainer.frozen_through: got {name}, expected the name of a layer of {model.name}; {hint}")
    layers: list[keras.layers.Layer] = keras.Model(model.input, model.get_layer(name).output).layers
    return layers
