"""``hparams_search=grid``: every combination of the choices."""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from pydantic import PositiveInt

from fashion.errors import InputError
from fashion.sweeps.manifest import Objective
from fashion.sweeps.runner import Runner


class Grid:
    """Run one job for each combination.

    Args:
        resume: The folder of a sweep to go on with; acted on before Hydra starts.
        objective: What the best job is best at.
        cores_per_job: How many cores each job may use; None divides the machine's among those that run at a time.
    """

    def __init__(self, resume: str | None, objective: Objective, cores_per_job: PositiveInt | None) -> None:
        self.objective = objective
        self.cores_per_job = cores_per_job

    def run(self, runner: Runner, overrides: list[Override]) -> None:
        """Run what is not finished of the combinations.

        Raises:
            InputError: Before the first job starts, when one of them would be refused.
        """
        for override in overrides:
            if override.is_sweep_override() and not override.is_discrete_sweep():
                raise InputError(
                    f"{override.input_line}: got an interval, expected choices as in {override.key_or_group}=1,2,3; "
                    "intervals need hparams_search=optuna"
                )
        combinations = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
        runner.add([(combination, None) for combination in combinations])
        runner.launch(runner.jobs)
