"""The input of models of Fashion-MNIST."""

from fashion.preprocessing.input_spec import InputSpec

INPUT_SIDE = 28  # pixels
INPUT = InputSpec(height=INPUT_SIDE, width=INPUT_SIDE, channels=1, preprocessing="fashion_mnist")
