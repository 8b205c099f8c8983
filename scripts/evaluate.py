"""Evaluate a trained model again: ``python scripts/evaluate.py --help``."""

from omegaconf import DictConfig

from fashion.config.checks import check_evaluation
from fashion.config.command import hydra_command
from fashion.config.schema import resolved


@hydra_command("evaluate")
def main(cfg: DictConfig) -> None:
    """Measure the artifact and write the result."""
    check_evaluation(resolved(cfg))  # starts Keras on the backend that the configuration names
    from fashion.evaluation.evaluate import evaluate
    from fashion.preprocessing.limits import use_one_opencv_thread

    use_one_opencv_thread()
    evaluate(cfg)


if __name__ == "__main__":
    main()
