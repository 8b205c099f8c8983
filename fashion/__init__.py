"""Fashion-MNIST classification with Keras 3 on JAX and TensorFlow."""

import time

STARTED = time.monotonic()  # imported first by every command: start-up times count from here
