"""Where Hydra looks for plugins: this namespace is shared by the distributions that bring one."""

from fashion.sweeps.sweeper import FashionSweeper


class Sweeper(FashionSweeper):
    """``configs/hydra/sweeper/fashion.yaml``, under the name that Hydra asks for."""
