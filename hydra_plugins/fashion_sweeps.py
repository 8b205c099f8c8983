"""Hydra's plugin discovery: it imports this namespace, which all packages with Hydra plugins share."""

from fashion.sweeps.sweeper import FashionSweeper


class Sweeper(FashionSweeper):
    """The sweeper of ``configs/hydra/sweeper/fashion.yaml``; Hydra accepts plugins of this namespace only."""
