"""Print and plot what is in the data set: ``python scripts/explore.py --help``."""

from pathlib import Path

import numpy as np

from fashion.config.build import build
from fashion.config.command import hydra_command
from fashion.data.exploration_settings import ExplorationSettings, prepare_exploration


@hydra_command("explore", prepare_exploration)
def main(settings: ExplorationSettings) -> None:
    """Print the tables, and write the figures to the run's folder."""
    from fashion.data.exploration import explore

    def augment(images: np.ndarray, seed: int) -> np.ndarray:
        layer = build(settings.augment, seed=seed)
        return np.asarray(layer(images.astype(np.float32) / 255, training=True))

    explore(build(settings.data, seed=settings.seed), augment, Path(settings.run_folder))


if __name__ == "__main__":
    main()
