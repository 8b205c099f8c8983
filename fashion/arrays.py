"""Types and shapes of the arrays that modules exchange, as jaxtyping annotations.

Axes: ``n`` images, ``h`` by ``w`` pixels, ``c`` channels. Within one call an axis has one length, whichever arguments
it occurs in. mypy sees the plain array type; the tests check types and shapes of every call (``tests/conftest.py``).
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8

Images = UInt8[np.ndarray, "n h w c"]  # 0-255
GrayImages = UInt8[np.ndarray, "n h w"]
Pixels = UInt8[np.ndarray, "n h w c"] | Float32[np.ndarray, "n h w c"]  # 0-255, or in [0, 1]
GrayImage = UInt8[np.ndarray, "h w"]
Image = UInt8[np.ndarray, "h w c"]
ImagePixels = UInt8[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"]  # 0-255, or in [0, 1]
RgbImage = UInt8[np.ndarray, "h w 3"]
Mask = Bool[np.ndarray, "h w"]
HeatMap = Float32[np.ndarray, "h w"]  # in [0, 1]
PhotoHeatMap = Float32[np.ndarray, "y x"]  # the same, of the photo that a model's input was made from
ModelInputs = Float32[np.ndarray, "n h w c"]  # in [0, 1]

Labels = Int[np.ndarray, "n"]  # index of the class
Positions = Int[np.ndarray, "n"]  # place of each image in the file that it comes from
Sources = Int[np.ndarray, "n"] | Shaped[np.ndarray, "n"]  # positions, or the path of each image's file
Probabilities = Float[np.ndarray, "n classes"]  # rows sum to 1
Features = Float[np.ndarray, "n features"]
Scores = Float[np.ndarray, "n"]  # one number per image: a confidence, a distance, a loss
Flags = Bool[np.ndarray, "n"]  # one truth value per image: right, accepted, a photo
ConfusionMatrix = Int[np.ndarray, "classes classes"]  # row: the true class, column: the predicted one
