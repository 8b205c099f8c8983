"""Train a network on Fashion-MNIST: ``python scripts/train.py --help``."""

import sys

from omegaconf import DictConfig

from fashion.config import resumption
from fashion.config.checks import check_training
from fashion.config.command import hydra_command
from fashion.config.schema import resolved
from fashion.errors import with_exit_status
from fashion.sweeps import isolation
from fashion.sweeps import resumption as sweep_resumption


@hydra_command("train")
def run(cfg: DictConfig) -> float | None:
    """Train, and return the validation accuracy; a job of a sweep does so in a process of its own."""
    if isolation.in_a_sweep():
        isolation.run(cfg)
        return None
    check_training(resolved(cfg))  # starts Keras on the backend that the configuration names
    from fashion.training.fit import train

    return train(cfg)["val_accuracy"]


def main() -> None:
    """Start a run or a sweep, or go on with one."""
    isolation.follow_parent()
    sys.argv[1:] = sweep_resumption.command_line(resumption.command_line(sys.argv[1:]))
    run()


if __name__ == "__main__":
    with_exit_status(main)
