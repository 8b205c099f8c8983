"""Train a network: ``python scripts/train.py --help``."""

from fashion.cli import with_exit_status
from fashion.config.command import hydra_command
from fashion.runs import resume_override
from fashion.sweeps import job_process, sweep_resume
from fashion.training.training_settings import Training, prepare_training


def rewrite(arguments: list[str]) -> list[str]:
    """Turn a command that resumes a run or a sweep into the one that this was started with."""
    return sweep_resume.command_line(resume_override.command_line(arguments))


@hydra_command("train", prepare_training, job=job_process.run, rewrite=rewrite)
def run(training: Training) -> float:
    """Train, and return the validation accuracy; a job of a sweep does so in a process of its own."""
    from fashion.training.fit import train

    return train(training)["val_accuracy"]


def main() -> None:
    """Start or resume a run or a sweep."""
    job_process.exit_with_parent()
    run()


if __name__ == "__main__":
    with_exit_status(main)
