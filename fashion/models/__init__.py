"""One builder for each choice of the model group, and the layers that make them fast on CPUs."""
