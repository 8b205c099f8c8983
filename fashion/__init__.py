"""Fashion-MNIST classification with Keras 3 on JAX and TensorFlow."""
