"""Train a network, resumably, and record the run."""
