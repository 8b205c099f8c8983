"""What a model takes, and the way from an image file to it: the same for training and for serving."""

from typing import Literal

import pydantic

Fit = Literal["stretch", "crop", "pad"]


class InputSpec(pydantic.BaseModel):
    """The size of a model's input, and its preprocessing by name with its settings.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: 1 for grey, 3 for red, green and blue.
        preprocessing: ``resize`` scales the whole image; ``fashion_mnist`` makes an image like those of that data set.
        fit: What ``resize`` does with another aspect ratio: ``stretch`` the image, ``crop`` its longer side, or ``pad``
            its shorter one.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow")

    height: int
    width: int
    channels: Literal[1, 3]
    preprocessing: Literal["resize", "fashion_mnist"]
    fit: Fit = "stretch"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels
