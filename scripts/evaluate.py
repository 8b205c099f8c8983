"""Evaluate a trained model again: ``python scripts/evaluate.py --help``."""

from fashion.config.command import hydra_command
from fashion.evaluation.artifact_data import command_line
from fashion.evaluation.evaluation_settings import EvaluationSettings, prepare_evaluation


@hydra_command("evaluate", prepare_evaluation, rewrite=command_line)
def main(settings: EvaluationSettings) -> None:
    """Measure the artifact and write the result."""
    from fashion.evaluation.evaluate import evaluate
    from fashion.preprocessing.limits import use_one_opencv_thread

    use_one_opencv_thread()
    evaluate(settings)


if __name__ == "__main__":
    main()
