"""Train a network on Fashion-MNIST: ``python scripts/train.py --help``."""

import sys

from omegaconf import DictConfig

from fashion.cli import with_exit_status
from fashion.config import resume_override
from fashion.config.checks import check_training
from fashion.config.command import hydra_command
from fashion.config.schema import resolved
from fashion.sweeps import job_process, sweep_resume


@hydra_command("train")
def run(cfg: DictConfig) -> float | None:
    """Train, and return the validation accuracy; a job of a sweep does so in a process of its own."""
    if job_process.is_sweep_job():
        job_process.run(cfg)
        return None
    check_training(resolved(cfg))  # starts Keras on the backend that the configuration names
    from fashion.training.fit import train

    return train(cfg)["val_accuracy"]


def main() -> None:
    """Start or resume a run or a sweep."""
    job_process.exit_with_parent()
    sys.argv[1:] = sweep_resume.command_line(resume_override.command_line(sys.argv[1:]))
    run()


if __name__ == "__main__":
    with_exit_status(main)
