"""Print and picture the data set, or audit it: ``python scripts/explore.py --help``."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from fashion.config.build import build
from fashion.config.checks import check_exploration
from fashion.config.command import hydra_command
from fashion.config.schema import resolved


@hydra_command("explore")
def main(cfg: DictConfig) -> None:
    """Write the tables to the terminal and the pictures to the run's folder."""
    config = resolved(cfg)
    settings = check_exploration(config)
    dataset = build(config["data"], seed=settings.seed)
    if settings.audit:
        from fashion.audit.data_audit import audit, load_predictor

        audit(dataset, load_predictor(settings.artifact), Path(cfg.run_folder), seed=settings.seed)
        return
    from fashion.data.exploration import explore

    def augment(images: np.ndarray, seed: int) -> np.ndarray:
        layer = build(config["augment"], seed=seed)
        return np.asarray(layer(images[..., np.newaxis].astype(np.float32) / 255, training=True))[..., 0]

    explore(dataset, augment, Path(cfg.run_folder))


if __name__ == "__main__":
    main()
