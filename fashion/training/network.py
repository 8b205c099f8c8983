"""What is trained: raw pixels in, probabilities out, the augmentation and the fast layers on the device."""

import keras
from keras import ops

from fashion.models.conversion import fast_layers, stock_layers


class TrainingNetwork(keras.Model):
    """A model of the artifact's contract, fed with raw pixels and augmented inside the compiled step.

    Args:
        model: ``(n, 28, 28, 1)`` float32 in [0, 1] to ``(n, 10)`` probabilities, of stock layers.
        augment: A layer that changes such images in training only.
        fast: Compute with this project's CPU kernels where they are faster; the weights are the same.
    """

    def __init__(self, model: keras.Model, augment: keras.layers.Layer, *, fast: bool) -> None:
        super().__init__(name="training")
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
        return stock_layers(self.core, dtype="float32")
