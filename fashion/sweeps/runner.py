"""Run the jobs that a search asks for: checked, started by any launcher, and started again when a launcher fails."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from fashion.config.nodes import ResolvedConfig, has_target
from fashion.config.override_text import quote_path
from fashion.config.schema import resolved
from fashion.errors import InputError
from fashion.runs.folder import RunStatus
from fashion.runs.identity import comparable
from fashion.runs.result import RunResult
from fashion.sweeps import launchers, preflight
from fashion.sweeps.manifest import ENDED, SweepJob, SweepManifest, refuse_other_configurations
from fashion.training.auto_settings import applied, decide


class JobRunner:
    """The jobs of one sweep, and what a search may do with them.

    Args:
        config: The configuration of the multirun, as Hydra composed it.
        loader: Hydra's loader, which composes the jobs' configurations.
        launcher: Hydra's launcher.
        manifest: Without jobs for a new sweep; the stored one of a sweep that is resumed.
    """

    def __init__(self, config: DictConfig, loader: ConfigLoader, launcher: Launcher, manifest: SweepManifest) -> None:
        self.config, self.loader, self.launcher, self.manifest = config, loader, launcher, manifest
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.resumed = bool(manifest.jobs)
        self.expected = len(manifest.jobs)  # jobs in all, as far as is known yet
        self.while_running: Callable[[], None] = lambda: None
        self.started = time.time()
        self.printed = set[str]()  # what was decided for jobs, once each

    @property
    def jobs(self) -> list[SweepJob]:
        """All jobs, in the order of their numbers."""
        return self.manifest.jobs

    def check(self, choices: Sequence[Sequence[str]]) -> None:
        """Check the configurations of jobs that may be added later.

        Args:
            choices: The overrides of each.

        Raises:
            InputError: When the configuration of one is wrong.
        """
        configs = [self.compose(overrides) for overrides in choices]
        preflight.check([applied(config, decide(config).values) for config in configs])

    def add(
        self, choices: Sequence[tuple[Sequence[str], int | None]], first: int = 0, *, checked: bool = False
    ) -> list[SweepJob]:
        """Add jobs, unless the sweep that is resumed has them already.

        Args:
            choices: The overrides of each, and the trial that it belongs to.
            first: The number of the first of them.
            checked: Whether their values are known to be allowed; checking takes seconds.

        Returns:
            The jobs, whether new or stored.

        Raises:
            InputError: When the configuration of one is wrong, or differs from the stored one.
        """
        given, decisions = [], set[str]()
        for number, (overrides, trial) in enumerate(choices, start=first):
            config = self.compose(overrides)
            kept = self.jobs[number].config.get("trainer") if number < len(self.jobs) else None
            decided, reason = decide(config, kept)
            if reason:
                decisions.add(f"auto           {', '.join(decided.values())}: {reason}")
            every = [*overrides, *(f"trainer.{key}={value}" for key, value in decided.items())]
            given.append((SweepJob(number, every, {}, trial), applied(config, decided)))
        for job, config in given:
            job.config = comparable(config)
        jobs = [job for job, _ in given]
        stored = self.jobs[first:]
        if stored:
            refuse_other_configurations(stored, jobs)
        else:
            if not checked:
                preflight.check([config for _, config in given])
            self.manifest.jobs += jobs
            for decision in sorted(decisions - self.printed):
                print(decision)
            self.printed |= decisions
        self.expected = max(self.expected, len(self.jobs))
        return jobs

    def status(self, job: SweepJob) -> RunStatus:
        """Return how a job is doing."""
        return job.folder(self.folder).status()

    def result(self, job: SweepJob) -> RunResult | None:
        """Return how a job ended; None while it runs."""
        return job.folder(self.folder).read_result()

    def launch(self, jobs: Sequence[SweepJob]) -> None:
        """Run those of the jobs that are not completed, each to its end.

        A launcher raises when its workers die (a kill, a lost machine); the jobs that it left unfinished are launched
        again, as long as each launch finishes at least one of them.

        Raises:
            InputError: When the launcher cannot run a single job.
        """
        self.manifest.write(self.folder)
        own = [job for job in jobs if job.same_as is None]
        left = [job for job in own if self.status(job) not in {"completed", "pruned"}]
        for job in left:
            job.folder(self.folder).remove_result()  # this time it may succeed
        # The basic launcher keeps the whole configuration of each job until its last one: 0.13 MB each.
        size = 1 if has_target(self.config.hydra.launcher, launchers.BASIC) else max(1, len(left))
        for start in range(0, len(left), size):
            self._launch(left[start : start + size])

    def _launch(self, jobs: Sequence[SweepJob]) -> None:
        left = list(jobs)
        while left:
            # A worker of joblib or Slurm composes anew, and would make another folder named after the time.
            place = f"hydra.sweep.dir={quote_path(self.folder)}"
            overrides = [[*job.overrides, place, f"hydra.sweep.subdir={job.number}"] for job in left]
            try:
                self.launcher.launch(overrides, initial_job_idx=left[0].number)
            except Exception as error:  # whatever the launcher's engine raises
                unfinished = [job for job in left if self.status(job) not in ENDED]
                if len(unfinished) == len(left):
                    raise InputError(f"hydra/launcher: {type(error).__name__}: {error}") from error
                print(f"the launcher failed ({type(error).__name__}); restarting {len(unfinished)} jobs")
                left = unfinished
            else:
                return

    def compose(self, overrides: Sequence[str]) -> ResolvedConfig:
        """Return the resolved configuration of a job."""
        composed = self.loader.load_sweep_config(self.config, list(overrides))
        sweep, place = self.config.hydra.sweep.dir, composed.hydra.sweep.dir
        if place != sweep:
            raise InputError(
                f"hydra.sweep.dir: got {place} for one job and {sweep} for the sweep, expected one folder for all jobs"
            )
        task = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        task.run_folder = "."
        return resolved(task)
