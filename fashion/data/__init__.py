"""The data set: found, verified, split, batched."""
