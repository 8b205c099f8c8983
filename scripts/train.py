"""Train a network on Fashion-MNIST: ``python scripts/train.py --help``."""

import sys

from omegaconf import DictConfig

from fashion.cli import with_exit_status
from fashion.config import resume_override
from fashion.config.checks import check_training
from fashion.config.command import hydra_command
from fashion.config.schema import resolved
from fashion.sweeps import job_process
from fashion.sweeps import sweep_resume as sweep_resumption


@hydra_command("train")
def run(cfg: DictConfig) -> float | None:
    """Train, and return the validation accuracy; a job of a sweep does so in a process of its own."""
    if job_process.in_a_sweep():
        job_process.run(cfg)
        return None
    check_training(resolved(cfg))  # starts Keras on the backend that the configuration names
    from fashion.training.fit import train

    return train(cfg)["val_accuracy"]


def main() -> None:
    """Start a run or a sweep, or go on with one."""
    job_process.follow_parent()
    sys.argv[1:] = sweep_resumption.command_line(resume_override.command_line(sys.argv[1:]))
    run()


if __name__ == "__main__":
    with_exit_status(main)
