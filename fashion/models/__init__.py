"""One builder for each choice of the model group, and the kernels that make them fast on CPUs."""
