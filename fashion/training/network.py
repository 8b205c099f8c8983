"""What is trained: raw pixels in, probabilities out, the augmentation and the fast layers on the device."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from fashion.models.fast_model import fast_layers, stock_layers
from fashion.models.flip_tta import flip_averaged


def cross_entropy(label_smoothing: float) -> str | Callable[[Any, Any], Any]:
    """Return the loss of ``(n,)`` labels and ``(n, classes)`` probabilities.

    Args:
        label_smoothing: Share of the probability that is asked for in equal parts from all classes.
    """
    if not label_smoothing:
        return "sparse_categorical_crossentropy"

    def smoothed(labels: Any, probabilities: Any) -> Any:
        wanted = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), probabilities.shape[-1])
        return keras.losses.categorical_crossentropy(wanted, probabilities, label_smoothing=label_smoothing)

    return smoothed


class TrainingNetwork(keras.Model):
    """A model of the artifact's contract, fed with raw pixels and augmented inside the compiled step.

    Args:
        model: ``(n, 28, 28, 1)`` float32 in [0, 1] to ``(n, 10)`` probabilities, of stock layers.
        augment: A layer that changes such images in training only.
        fast: Compute with this project's CPU kernels where they are faster; the weights are the same.
        flip_average: Whether the deployable model averages over an image and its mirror image.
    """

    def __init__(
        self, model: keras.Model, augment: keras.layers.Layer, *, fast: bool, flip_average: bool = False
    ) -> None:
        super().__init__(name="training")
        self.flip_average = flip_average
        self.augment = augment
        self.core = fast_layers(model) if fast else model

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Note that nothing is left to build: the model and the augmentation come with their variables."""
        self.built = True

    def call(self, pixels: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, 10)`` float32 probabilities of ``(n, 28, 28)`` uint8 pixels, 0-255."""
        images = ops.cast(ops.expand_dims(pixels, -1), "float32") / 255
        return self.core(self.augment(images, training=training), training=training)

    def deployable(self) -> keras.Model:
        """Return the trained model with stock layers in float32, without augmentation: what the artifact holds."""
        model = stock_layers(self.core, dtype="float32")
        return flip_averaged(model) if self.flip_average else model
