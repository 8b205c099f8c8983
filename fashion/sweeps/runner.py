"""Run the jobs that a search asks for: checked, launched by whichever launcher, launched again when that one dies."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_loader import ConfigLoader
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from fashion.config.resume_override import RESULT_FILE
from fashion.config.schema import resolved
from fashion.errors import InputError
from fashion.runs.identity import comparable
from fashion.sweeps import manifest, preflight
from fashion.sweeps.manifest import Job, Plan, Status


class Runner:
    """The jobs of one sweep, and what a search may ask of them.

    Args:
        config: The configuration of the multirun, as Hydra composed it.
        loader: Hydra's loader, which composes the jobs' configurations.
        launcher: Hydra's launcher.
        plan: Empty for a new sweep; that of the sweep to go on with.
    """

    def __init__(self, config: DictConfig, loader: ConfigLoader, launcher: Launcher, plan: Plan) -> None:
        self.config, self.loader, self.launcher, self.plan = config, loader, launcher, plan
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.resumed = bool(plan.jobs)
        self.expected = len(plan.jobs)  # jobs in all, as far as the search knows
        self.while_running: Callable[[], None] = lambda: None
        self.started = time.time()

    @property
    def jobs(self) -> list[Job]:
        """Return all jobs, in the order of their numbers."""
        return self.plan.jobs

    def check(self, choices: Sequence[Sequence[str]]) -> None:
        """Check the configurations of jobs that may come.

        Args:
            choices: The overrides of each.

        Raises:
            InputError: When the configuration of one is wrong.
        """
        preflight.check([self.compose(overrides) for overrides in choices])

    def add(
        self, choices: Sequence[tuple[Sequence[str], int | None]], first: int = 0, *, checked: bool = False
    ) -> list[Job]:
        """Add jobs, unless the sweep that is resumed has them already.

        Args:
            choices: The overrides of each, and the trial that it belongs to.
            first: The number of the first of them.
            checked: Whether their values are known to be allowed; it takes seconds to find out.

        Returns:
            The jobs, new or known.

        Raises:
            InputError: When the configuration of one is wrong, or is not that of the sweep to resume.
        """
        given = []
        for number, (overrides, trial) in enumerate(choices, start=first):
            given.append((Job(number, list(overrides), {}, trial), self.compose(overrides)))
        for job, config in given:
            job.config = comparable(config)
        jobs = [job for job, _ in given]
        known = self.jobs[first:]
        if known:
            manifest.refuse_other_configurations(known, jobs)
        else:
            if not checked:
                preflight.check([config for _, config in given])
            self.plan.jobs += jobs
        self.expected = max(self.expected, len(self.jobs))
        return jobs

    def status(self, job: Job) -> Status:
        """Return how a job is doing."""
        return manifest.status(job.folder(self.folder))

    def result(self, job: Job) -> dict[str, Any]:
        """Return what a job found, empty while it runs."""
        return manifest.result(job.folder(self.folder))

    def launch(self, jobs: Sequence[Job]) -> None:
        """Run those of the jobs that are not completed, each to its end.

        A launcher whose workers die (a kill, a machine that is gone) raises; what it left undone is launched again, as
        long as that finishes at least one more job.

        Raises:
            InputError: When the launcher cannot run a single job.
        """
        self.plan.write(self.folder)
        left = [job for job in jobs if self.status(job) not in {"completed", "pruned"}]
        for job in left:
            (job.folder(self.folder) / RESULT_FILE).unlink(missing_ok=True)  # this time it may end better
        # The basic launcher keeps all of a job's configuration until its last one: 0.13 MB each.
        size = 1 if isinstance(self.launcher, BasicLauncher) else max(1, len(left))
        for start in range(0, len(left), size):
            self._launch(left[start : start + size])

    def _launch(self, jobs: Sequence[Job]) -> None:
        left = list(jobs)
        while left:
            overrides = [[*job.overrides, f"hydra.sweep.subdir={job.number}"] for job in left]
            try:
                self.launcher.launch(overrides, initial_job_idx=left[0].number)
            except Exception as error:  # whatever the launcher's engine raises
                undone = [job for job in left if self.status(job) not in manifest.ENDED]
                if len(undone) == len(left):
                    raise InputError(f"hydra/launcher: {type(error).__name__}: {error}") from error
                print(f"the launcher failed ({type(error).__name__}); launching {len(undone)} jobs again")
                left = undone
            else:
                return

    def compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the resolved configuration of a job."""
        composed = self.loader.load_sweep_config(self.config, list(overrides))
        task = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        task.run_folder = "."
        return resolved(task)
