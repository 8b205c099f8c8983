"""Random rotation, shift and zoom, as one affine map and one bilinear resample of the whole batch."""

import math
from typing import Annotated

import keras
from keras import ops
from pydantic import Field, NonNegativeFloat

from fashion.augment.resample import pixel_grid, resample


class Affine(keras.layers.Layer):
    """Rotate, zoom and shift each image about its centre; beyond its edges is background.

    Keras's three random layers in a row would resample three times, blur each time, and disable JIT compilation.

    Args:
        rotation_degrees: Angles are uniform in plus and minus this.
        width_shift: Horizontal shifts are uniform in plus and minus this share of the width.
        height_shift: Vertical shifts are uniform in plus and minus this share of the height.
        zoom: Magnifications are uniform in 1 minus this to 1 plus this, the same for both axes.
        seed: Seed of the random parameters; each training step draws new ones.
    """

    def __init__(
        self,
        rotation_degrees: Annotated[float, Field(ge=0, le=180)],
        width_shift: Annotated[float, Field(ge=0, le=1)],
        height_shift: Annotated[float, Field(ge=0, le=1)],
        zoom: Annotated[NonNegativeFloat, Field(lt=1)],
        *,
        seed: int,
    ) -> None:
        super().__init__(name="augment", dtype="float32")  # bfloat16 coordinates would jitter by an eighth of a pixel
        self.rotation_radians = math.radians(rotation_degrees)
        self.width_shift = width_shift
        self.height_shift = height_shift
        self.zoom = zoom
        self.random = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return ``(n, h, w, c)`` images, transformed in training and untouched otherwise."""
        if not training:
            return images
        _, height, width, _ = images.shape
        angle = self._draw(images, self.rotation_radians)
        scale = 1 / (1 + self._draw(images, self.zoom))
        x_shift = self._draw(images, self.width_shift * width)
        y_shift = self._draw(images, self.height_shift * height)
        # Where in the input each output pixel comes from, relative to the centre.
        y, x = pixel_grid(images)
        cosine, sine = ops.cos(angle) * scale, ops.sin(angle) * scale
        rows = sine * x + cosine * y + y_shift + (height - 1) / 2
        columns = cosine * x - sine * y + x_shift + (width - 1) / 2
        return resample(images, rows, columns)

    def _draw(self, images: keras.KerasTensor, reach: float) -> keras.KerasTensor:
        """Return one number for each image, ``(n, 1, 1)``, uniform in plus and minus ``reach``."""
        return keras.random.uniform((ops.shape(images)[0], 1, 1), -reach, reach, seed=self.random)
