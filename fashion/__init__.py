"""Image classification with Keras 3 on JAX and TensorFlow."""

import time

__version__ = "1.0.0"

STARTED = time.monotonic()  # imported first by every command: start-up times count from here
