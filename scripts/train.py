"""Train a network on Fashion-MNIST: ``python scripts/train.py --help``."""

import sys

from omegaconf import DictConfig

from fashion.config import resumption
from fashion.config.checks import check_training
from fashion.config.command import hydra_command
from fashion.config.schema import resolved
from fashion.errors import with_exit_status


@hydra_command("train")
def run(cfg: DictConfig) -> float:
    """Train, and return the validation accuracy for sweeps to maximise."""
    check_training(resolved(cfg))  # starts Keras on the backend that the configuration names
    from fashion.training.fit import train

    return train(cfg)["val_accuracy"]


def main() -> None:
    """Start a run, or go on with one."""
    sys.argv[1:] = resumption.command_line(sys.argv[1:])
    run()


if __name__ == "__main__":
    with_exit_status(main)
