"""``hparams_search=grid``: every combination of the choices."""

import itertools

from hydra.core.override_parser.types import Override
from pydantic import PositiveInt

from fashion.errors import InputError
from fashion.sweeps.manifest import Objective
from fashion.sweeps.runner import JobRunner


class Grid:
    """Run one job for each combination.

    Args:
        resume: The folder of a sweep to resume; evaluated before Hydra starts.
        objective: The metric that the best job is best in.
        cores_per_job: How many cores each job may use; None divides the machine's among the jobs that run at once.
    """

    def __init__(self, resume: str | None, objective: Objective, cores_per_job: PositiveInt | None) -> None:
        self.objective = objective
        self.cores_per_job = cores_per_job

    def run(self, runner: JobRunner, overrides: list[Override]) -> None:
        """Run the combinations that are not completed.

        Raises:
            InputError: Before the first job starts, when one of them would be refused.
        """
        # The last override of a key counts, in the place of the first.
        choices = {override.get_key_element(): _choices(override) for override in overrides}
        combinations = itertools.product(*choices.values())
        runner.add([(combination, None) for combination in combinations])
        runner.launch(runner.jobs)


def _choices(override: Override) -> list[str]:
    """Return an override once for each of its values."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise InputError(
            f"{override.input_line}: got an interval, expected choices as in {override.key_or_group}=1,2,3; "
            "intervals need hparams_search=optuna"
        )
    return [f"{key}={value}" for value in override.sweep_string_iterator()]
