"""``hparams_search=optuna``: Optuna chooses the next jobs by the results of those before.

Only Optuna's ask-and-tell interface is used. A trial is one job, or one for each fold and seed; pruning judges the
validation loss of the first of them by its history on disk, so that jobs need no Optuna and run wherever the launcher
puts them.
"""

import contextlib
import math
import statistics
import threading
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import optuna
import sqlalchemy.exc
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from pydantic import Field, PositiveInt

from fashion.config.arguments import key_of
from fashion.errors import FashionError, InputError
from fashion.runs.identity import SOURCES
from fashion.sweeps import cores
from fashion.sweeps.manifest import ENDED, FOLD, SEED, Objective, SweepJob
from fashion.sweeps.runner import JobRunner

SWEEP_ATTRIBUTE = "sweep"  # of each trial: the identity of the sweep that runs it
PRUNING_WARMUP_EPOCHS = 2  # the first one says little: learning rate and moving statistics have hardly settled

STORAGE_ERRORS = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)

SearchSpace = dict[str, BaseDistribution]


class OptunaSearch:
    """Ask Optuna for trials until there are enough.

    Args:
        resume: The folder of a sweep to resume; evaluated before Hydra starts.
        objective: The metric that is optimised.
        cores_per_job: How many cores each job may use; None divides the machine's among the jobs that run at once.
        trials: How many in all.
        repeats: Jobs for each trial, with seeds from ``trainer.seed`` on; the objective is their mean.
        concurrency: How many trials are suggested together, before any of them has a result; None suits the launcher.
        sampler: ``tpe`` (Bergstra et al. 2011), ``random`` or ``cmaes`` (Hansen and Ostermeier 2001).
        pruner: ``none``; ``median``, which ends a trial that is worse than the median of the others at its epoch; or
            ``halving``, asynchronous successive halving (Li et al. 2018).
        seed: Seed of the sampler.
        storage: A URL that SQLAlchemy understands; None is SQLite in the sweep's folder.
        study: Its name in the storage; None is the name of the sweep's folder.
    """

    def __init__(
        self,
        resume: str | None,
        objective: Objective,
        cores_per_job: PositiveInt | None,
        trials: PositiveInt,
        repeats: PositiveInt,
        concurrency: PositiveInt | None,
        sampler: Literal["tpe", "random", "cmaes"],
        pruner: Literal["none", "median", "halving"],
        seed: Annotated[int, Field(ge=0, lt=2**32)],
        storage: str | None,
        study: str | None,
    ) -> None:
        self.objective: Objective = objective
        self.trials, self.repeats, self.concurrency = trials, repeats, concurrency
        self.sampler, self.pruner, self.seed = sampler, pruner, seed
        self.storage, self.study_name = storage, study
        self.prunable: dict[int, optuna.Trial] = {}  # trials that run, by number
        self.lock = threading.Lock()  # the progress reporter prunes in a thread of its own

    def run(self, runner: JobRunner, overrides: list[Override]) -> None:
        """Run trials until there are as many as configured.

        Raises:
            InputError: Before the first job starts, when the search would be refused; or when its study is lost.
        """
        try:
            self._run(runner, overrides)
        except STORAGE_ERRORS as error:
            raise InputError(
                f"sweep.storage: the study cannot be used any more ({_reason(error)}); what has ended is kept, resume "
                f"with -m sweep.resume={runner.folder}"
            ) from None

    def _run(self, runner: JobRunner, overrides: list[Override]) -> None:
        folds, others = take_folds(overrides)
        space, fixed = search_space(others)
        if self.repeats > 1 and SEED in space:
            raise InputError(f"{SEED}: got choices with sweep.repeats={self.repeats}, expected one or the other")
        if runner.resumed:
            runner.add([(job.overrides, job.trial) for job in runner.jobs])
        else:
            points = [[*fixed, *_as_overrides(point)] for point in corners(space)]
            runner.check([[*point, *fold] for point in points for fold in folds])
        study = self.open_study(runner)
        per_trial = len(folds) * self.repeats
        runner.expected = self.trials * per_trial
        runner.while_running = lambda: self.prune_running_trials(runner)
        concurrency = self.concurrency or math.ceil(cores.concurrent_jobs(runner.config.hydra.launcher) / per_trial)
        self._close_lost_trials(runner, study)
        while True:
            trials = self._unfinished(runner, study, space)
            while len(trials) < concurrency and len({job.trial for job in runner.jobs}) < self.trials:
                trials.append(self._suggest(runner, study, space, fixed, folds, {trial.number for trial in trials}))
            if not trials:
                return
            jobs = [job for trial in trials for job in _jobs_of(runner, trial.number)]
            training = {job.trial for job in jobs if job.same_as is None}
            with self.pruning([trial for trial in trials if trial.number in training]):
                runner.launch(jobs)
            for trial in trials:
                self.report_result(runner, study, trial.number)

    def open_study(self, runner: JobRunner) -> optuna.Study:
        """Open the study of a sweep, or create it.

        Raises:
            InputError: When the storage cannot be opened, or the study optimises in another direction.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = self.storage or f"sqlite:///{runner.folder / 'study.db'}"
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=self.study_name or runner.folder.name,
                direction=_direction(self.objective),
                pruner=_pruner(self.pruner),
                load_if_exists=True,
            )
        except (*STORAGE_ERRORS, ImportError) as error:
            raise InputError(f"sweep.storage: got {storage}, which cannot be opened ({_reason(error)})") from None
        if study.direction.name.lower() != _direction(self.objective):
            raise InputError(
                f"sweep.objective: got {self.objective}, but study {study.study_name} has the direction "
                f"{study.direction.name.lower()}; choose another sweep.study"
            )
        # A resumed sweep must not draw again what its sampler drew at the beginning.
        study.sampler = _sampler(self.sampler, self.seed + len(study.get_trials(deepcopy=False)))
        return study

    def _suggest(
        self,
        runner: JobRunner,
        study: optuna.Study,
        space: SearchSpace,
        fixed: list[str],
        folds: list[list[str]],
        pending: set[int],
    ) -> optuna.Trial:
        """Ask Optuna for a trial, and add its jobs; those whose result is known, or pending, will not run."""
        trial = study.ask(fixed_distributions=space)
        trial.set_user_attr(SWEEP_ATTRIBUTE, runner.manifest.identity)
        chosen = [*fixed, *_as_overrides(trial.params)]
        settings = [chosen]
        if self.repeats > 1:
            first = int(runner.compose([*fixed, *folds[0]])["trainer"]["seed"])
            kept = [override for override in chosen if override.partition("=")[0] != SEED]
            settings = [[*kept, f"{SEED}={first + repeat}"] for repeat in range(self.repeats)]
        try:
            choices = [([*setting, *fold], trial.number) for setting in settings for fold in folds]
            jobs = runner.add(choices, first=len(runner.jobs), checked=True)
        except FashionError:
            study.tell(trial, state=TrialState.FAIL)
            raise
        for job in jobs:
            job.same_as = _equal_job(runner, job, pending)
        return trial

    def _unfinished(self, runner: JobRunner, study: optuna.Study, space: SearchSpace) -> list[optuna.Trial]:
        """Return the trials that an earlier command left unfinished; those that failed are tried once more."""
        if not runner.resumed:
            return []
        runner.resumed = False
        stored = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
        trials = []
        for number in dict.fromkeys(job.trial for job in runner.jobs if job.trial is not None):
            found = stored.get(number)
            if found is None:
                raise InputError(
                    f"sweep.storage: study {study.study_name} has no trial {number}, but the sweep to resume has; "
                    "restore the study, or start a new sweep"
                )
            if found.state is TrialState.RUNNING:
                trials.append(optuna.Trial(study, found._trial_id))  # Optuna has no public way to resume a trial
            elif found.state is TrialState.FAIL:  # which is final for Optuna: a new trial takes its place
                study.enqueue_trial(found.params)
                trials.append(study.ask(fixed_distributions=space))
                trials[-1].set_user_attr(SWEEP_ATTRIBUTE, runner.manifest.identity)
                for job in _jobs_of(runner, number):
                    job.trial = trials[-1].number
        return trials

    def _close_lost_trials(self, runner: JobRunner, study: optuna.Study) -> None:
        """Close the trials that were suggested right before this sweep was killed, and that have no jobs."""
        ours = {job.trial for job in runner.jobs}
        for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.user_attrs.get(SWEEP_ATTRIBUTE) == runner.manifest.identity and trial.number not in ours:
                study.tell(trial.number, state=TrialState.FAIL)

    def report_result(self, runner: JobRunner, study: optuna.Study, number: int) -> None:
        """Report the mean objective of a trial's jobs to Optuna, or that the trial was pruned or failed."""
        jobs = _jobs_of(runner, number)
        statuses = {runner.status(job) for job in jobs}
        results = [runner.result(job) for job in jobs]
        values = [result.metrics[self.objective] for result in results if result and self.objective in result.metrics]
        if statuses == {"completed"} and len(values) == len(jobs):
            study.tell(number, statistics.fmean(values))
        elif "pruned" in statuses and not statuses & {"failed", "interrupted"}:
            study.tell(number, state=TrialState.PRUNED)
        else:
            study.tell(number, state=TrialState.FAIL)

    @contextlib.contextmanager
    def pruning(self, trials: list[optuna.Trial]) -> Iterator[None]:
        """Let these trials be pruned while the block runs them."""
        with self.lock:
            self.prunable = {trial.number: trial for trial in trials} if self.pruner != "none" else {}
        try:
            yield
        finally:
            with self.lock:
                self.prunable = {}

    def prune_running_trials(self, runner: JobRunner) -> None:
        """Report the epochs that have ended since the last call, and request the end of trials that Optuna prunes.

        While the study cannot be reached nothing is pruned; the next call reports what this one could not.
        """
        with self.lock, contextlib.suppress(*STORAGE_ERRORS):
            for number, trial in list(self.prunable.items()):
                jobs = _jobs_of(runner, number)
                losses = jobs[0].folder(runner.folder).read_history().get("val_loss", [])
                known = trial.study.trials[number].intermediate_values
                for epoch in range(len(known) + 1, len(losses) + 1):
                    if math.isfinite(losses[epoch - 1]):
                        sign = 1 if self.objective == "val_loss" else -1  # a study has one direction only
                        trial.report(sign * losses[epoch - 1], epoch)
                if len(losses) > len(known) and trial.should_prune():
                    del self.prunable[number]
                    for job in jobs:
                        if job.same_as is None and runner.status(job) not in ENDED:
                            job.folder(runner.folder).request_prune()


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0]


def take_folds(overrides: list[Override]) -> tuple[list[list[str]], list[Override]]:
    """Divide a command line into the folds of cross-validation, all of which every trial trains, and the rest.

    Returns:
        For each job of a trial the override that sets its fold, none where the folds are not swept; and the rest.

    Raises:
        InputError: When the folds are an interval.
    """
    folds = [override for override in overrides if override.get_key_element() == FOLD and override.is_sweep_override()]
    if not folds:
        return [[]], overrides
    if not folds[-1].is_discrete_sweep():
        raise InputError(f"{folds[-1].input_line}: got an interval, expected the folds, as in {FOLD}=0,1,2")
    jobs = [[f"{FOLD}={value}"] for value in folds[-1].sweep_string_iterator()]
    return jobs, [override for override in overrides if override.get_key_element() != FOLD]


def search_space(overrides: list[Override]) -> tuple[SearchSpace, list[str]]:
    """Divide a command line into what is searched and what is fixed.

    Args:
        overrides: As Hydra parsed them. ``a=x,y`` and ``choice()`` are categories, ``range()`` has steps,
            ``interval()`` is continuous, or integer as ``int(interval(1,9))``; ``tag(log,interval())`` is searched on a
            logarithmic scale.

    Returns:
        Key to distribution, and the fixed overrides.

    Raises:
        InputError: When nothing is searched, or a range is empty.
    """
    space, fixed = {}, []
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            space[key] = _distribution(override)
        else:
            fixed.append(f"{key}={override.get_value_element_as_str()}")
    if not space:
        raise InputError(
            "hparams_search=optuna: got nothing to search, expected at least one key with choices or an interval, "
            "as in optimizer=adam,sgd or 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))'"
        )
    return space, fixed


def _distribution(override: Override) -> BaseDistribution:
    value: Any = override.value()
    try:
        if isinstance(value, IntervalSweep):
            low: Any = value.start
            log = "log" in value.tags
            if isinstance(low, int):  # from int(); Hydra reads interval(1,9) as 1.0 to 9.0
                return IntDistribution(low, int(value.end or 0), log=log)
            return FloatDistribution(float(low), float(value.end or 0), log=log)
        if isinstance(value, RangeSweep):
            values = list(value.range())
            if all(isinstance(number, int) for number in values):
                return IntDistribution(values[0], values[-1], step=int(value.step))
            return FloatDistribution(float(values[0]), float(values[-1]), step=float(value.step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{override.input_line}: is not a valid range to search ({error})") from None


def corners(space: SearchSpace) -> list[dict[str, Any]]:
    """Return points that together contain every category, and both ends of every range."""
    ends = {
        key: list(kind.choices) if isinstance(kind, CategoricalDistribution) else [kind.low, kind.high]  # type: ignore[attr-defined]
        for key, kind in space.items()
    }
    points = max(len(values) for values in ends.values())
    return [{key: values[min(index, len(values) - 1)] for key, values in ends.items()} for index in range(points)]


def _as_overrides(params: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in params.items()]


def _jobs_of(runner: JobRunner, trial: int) -> list[SweepJob]:
    return [job for job in runner.jobs if job.trial == trial]


def _equal_job(runner: JobRunner, job: SweepJob, pending: set[int]) -> int | None:
    """Return the number of an earlier job with the same configuration whose result is known or pending.

    One that failed is not among them: it may succeed the next time.

    Args:
        runner: The runner of the jobs.
        job: The job.
        pending: The trials that run together with it.
    """
    for other in runner.jobs:
        is_earlier = other.number < job.number and other.same_as is None
        is_equal = other.config == job.config and _sources(other) == _sources(job)
        if is_earlier and is_equal and (other.trial in pending or runner.status(other) == "completed"):
            return other.number
    return None


def _sources(job: SweepJob) -> set[str]:
    """Return which data a job names: its configuration is compared without, as a digest tells data apart once read."""
    keys = {f"data.{key}" for key in SOURCES}
    return {override for override in job.overrides if key_of(override) in keys}


def _direction(objective: Objective) -> Literal["maximize", "minimize"]:
    return "maximize" if objective == "val_accuracy" else "minimize"


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _pruner(name: str) -> optuna.pruners.BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_warmup_steps=PRUNING_WARMUP_EPOCHS)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.NopPruner()
