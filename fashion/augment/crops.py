"""Random resized crops and flips, as maps of coordinates: what else moves pixels can share their resampling."""

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import keras
from keras import ops
from pydantic import Field

MinScale = Annotated[float, Field(gt=0, le=1)]
MaxAspect = Annotated[float, Field(ge=1, le=4)]
Probability = Annotated[float, Field(ge=0, le=1)]
Coordinates = tuple[keras.KerasTensor, keras.KerasTensor]


class Crops(NamedTuple):
    """Random resized crops (Szegedy et al., 2015, arXiv:1409.4842) with horizontal flips.

    Attributes:
        min_scale: Areas are uniform in this share of the image to all of it.
        max_aspect: Widths over heights are log-uniform between the inverse of this and this, relative to the image's.
        flip_probability: Share of images that are flipped left to right.
    """

    min_scale: float
    max_aspect: float
    flip_probability: float

    def sample(
        self, images: keras.KerasTensor, random: keras.random.SeedGenerator
    ) -> Callable[[keras.KerasTensor, keras.KerasTensor], Coordinates]:
        """Draw a crop for each image.

        Returns:
            From rows and columns in the resized crop, in pixels from its centre, to those in the image.
        """
        _, height, width, _ = images.shape
        numbers = keras.random.uniform((5, ops.shape(images)[0], 1, 1), seed=random)
        area = self.min_scale + (1 - self.min_scale) * numbers[0]
        aspect = ops.exp(math.log(self.max_aspect) * (2 * numbers[1] - 1))
        # Shares of the image's sides; a crop that would be larger than the image gets its size.
        wide, tall = ops.minimum(ops.sqrt(area * aspect), 1), ops.minimum(ops.sqrt(area / aspect), 1)
        down, right = (numbers[2] - 0.5) * (1 - tall) * height, (numbers[3] - 0.5) * (1 - wide) * width
        across = wide * ops.where(numbers[4] < self.flip_probability, -1.0, 1.0)

        def to_image(rows: keras.KerasTensor, columns: keras.KerasTensor) -> Coordinates:
            return rows * tall + down, columns * across + right

        return to_image
