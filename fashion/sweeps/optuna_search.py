"""``hparams_search=optuna``: Optuna chooses the next jobs by what the ones before found.

Thin on purpose: Optuna is asked for a trial and told what came of it. A trial is one job, or one for each seed; pruning
follows the first seed's validation loss through its ``history.csv``, so that jobs know nothing of Optuna and run
wherever the launcher puts them.
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

from fashion.errors import FashionError, InputError
from fashion.sweeps import cores, manifest, results
from fashion.sweeps.manifest import SEED, Job, Objective
from fashion.sweeps.runner import Runner

OF_THE_SWEEP = "sweep"  # an attribute of each trial: the folder that runs it
FIRST_JUDGED_EPOCH = 2  # the first one says little: rates and moving statistics have hardly settled


class OptunaSearch:
    """Ask Optuna for trials until there are enough.

    Args:
        resume: The folder of a sweep to go on with; acted on before Hydra starts.
        objective: What is optimised.
        cores_per_job: How many cores each job may use; None divides the machine's among those that run at a time.
        trials: How many in all.
        repeats: Jobs for each trial, with seeds from ``trainer.seed`` on; the objective is their mean.
        concurrency: How many trials are suggested together, before any has a result; None suits the launcher.
        sampler: ``tpe`` (Bergstra et al. 2011), ``random`` or ``cmaes`` (Hansen and Ostermeier 2001).
        pruner: ``none``; ``median``, which ends a trial that is worse than the median of the others at its epoch; or
            ``halving``, asynchronous successive halving (Li et al. 2018).
        seed: Of the sampler.
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
        self.active: dict[int, optuna.Trial] = {}  # those that may be pruned
        self.lock = threading.Lock()  # the board judges in a thread of its own

    def run(self, runner: Runner, overrides: list[Override]) -> None:
        """Run trials until there are as many as were asked for.

        Raises:
            InputError: Before the first job starts, when the search would be refused.
        """
        space, fixed = split(overrides)
        if self.repeats > 1 and SEED in space:
            raise InputError(f"{SEED}: got choices with sweep.repeats={self.repeats}, expected one or the other")
        if runner.resumed:
            runner.add([(job.overrides, job.trial) for job in runner.jobs])
        else:
            runner.check([[*fixed, *_as_overrides(point)] for point in corners(space)])
        study = self._open(runner)
        runner.expected = self.trials * self.repeats
        runner.while_running = lambda: self._judge(runner)
        concurrency = self.concurrency or math.ceil(cores.jobs_at_a_time(runner.config.hydra.launcher) / self.repeats)
        self._close_lost_trials(runner, study)
        while True:
            trials = self._unfinished(runner, study, space)
            while len(trials) < concurrency and len({job.trial for job in runner.jobs}) < self.trials:
                trials.append(self._ask(runner, study, space, fixed))
            if not trials:
                return
            with self._watched(trials):
                runner.launch([job for trial in trials for job in _jobs_of(runner, trial.number)])
            for trial in trials:
                self._tell(runner, study, trial.number)

    def _open(self, runner: Runner) -> optuna.Study:
        """Open the study, and make it where there is none."""
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
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, optuna.exceptions.StorageInternalError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise InputError(f"sweep.storage: got {storage}, which cannot be opened ({reason})") from None
        if study.direction.name.lower() != _direction(self.objective):
            raise InputError(
                f"sweep.objective: got {self.objective}, but study {study.study_name} has the direction "
                f"{study.direction.name.lower()}; choose another sweep.study"
            )
        # A sampler that goes on must not draw once more what it drew at its beginning.
        study.sampler = _sampler(self.sampler, self.seed + len(study.get_trials(deepcopy=False)))
        return study

    def _ask(
        self, runner: Runner, study: optuna.Study, space: dict[str, BaseDistribution], fixed: list[str]
    ) -> optuna.Trial:
        """Ask for a trial, and plan its jobs."""
        trial = study.ask(fixed_distributions=space)
        trial.set_user_attr(OF_THE_SWEEP, runner.folder.name)
        chosen = [*fixed, *_as_overrides(trial.params)]
        choices: list[tuple[list[str], int | None]] = [(chosen, trial.number)]
        if self.repeats > 1:
            first = int(runner.compose(fixed)["trainer"]["seed"])
            kept = [override for override in chosen if override.partition("=")[0] != SEED]
            choices = [([*kept, f"{SEED}={first + repeat}"], trial.number) for repeat in range(self.repeats)]
        try:
            runner.add(choices, first=len(runner.jobs), checked=True)
        except FashionError:
            study.tell(trial, state=TrialState.FAIL)
            raise
        return trial

    def _unfinished(
        self, runner: Runner, study: optuna.Study, space: dict[str, BaseDistribution]
    ) -> list[optuna.Trial]:
        """Return the trials that an earlier sitting has left open; those that failed are tried once more."""
        if not runner.resumed:
            return []
        runner.resumed = False
        states = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
        trials = []
        for number in dict.fromkeys(job.trial for job in runner.jobs if job.trial is not None):
            found = states[number]
            if found.state is TrialState.RUNNING:
                trials.append(optuna.Trial(study, found._trial_id))
            elif found.state is TrialState.FAIL:  # told so, and final: another one takes its place
                study.enqueue_trial(found.params)
                trials.append(study.ask(fixed_distributions=space))
                trials[-1].set_user_attr(OF_THE_SWEEP, runner.folder.name)
                for job in _jobs_of(runner, number):
                    job.trial = trials[-1].number
        return trials

    def _close_lost_trials(self, runner: Runner, study: optuna.Study) -> None:
        """Tell Optuna of trials that it was asked for right before this sweep was killed, and that nobody runs."""
        ours = {job.trial for job in runner.jobs}
        for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.user_attrs.get(OF_THE_SWEEP) == runner.folder.name and trial.number not in ours:
                study.tell(trial.number, state=TrialState.FAIL)

    def _tell(self, runner: Runner, study: optuna.Study, number: int) -> None:
        """Tell Optuna what came of a trial."""
        jobs = _jobs_of(runner, number)
        statuses = {runner.status(job) for job in jobs}
        values = [(runner.result(job).get("metrics") or {}).get(self.objective) for job in jobs]
        numbers = [value for value in values if value is not None]
        if statuses == {"completed"} and len(numbers) == len(values):
            study.tell(number, statistics.fmean(numbers))
        elif "pruned" in statuses and not statuses & {"failed", "interrupted"}:
            study.tell(number, state=TrialState.PRUNED)
        else:
            study.tell(number, state=TrialState.FAIL)

    @contextlib.contextmanager
    def _watched(self, trials: list[optuna.Trial]) -> Iterator[None]:
        with self.lock:
            self.active = {trial.number: trial for trial in trials} if self.pruner != "none" else {}
        try:
            yield
        finally:
            with self.lock:
                self.active = {}

    def _judge(self, runner: Runner) -> None:
        """Report the epochs that have ended since the last look; ask for the end of the trials that Optuna prunes."""
        with self.lock:
            for number, trial in list(self.active.items()):
                jobs = _jobs_of(runner, number)
                losses = results.read_history(jobs[0].folder(runner.folder)).get("val_loss", [])
                known = trial.study.trials[number].intermediate_values
                for epoch in range(len(known) + 1, len(losses) + 1):
                    if math.isfinite(losses[epoch - 1]):
                        sign = 1 if self.objective == "val_loss" else -1  # the study knows one direction only
                        trial.report(sign * losses[epoch - 1], epoch)
                if len(losses) > len(known) and trial.should_prune():
                    del self.active[number]
                    for job in jobs:
                        _ask_for_the_end(job, runner)


def split(overrides: list[Override]) -> tuple[dict[str, BaseDistribution], list[str]]:
    """Divide a command line into what is searched and what is fixed.

    Args:
        overrides: As Hydra parsed them. ``a=x,y`` and ``choice()`` are categories, ``range()`` has steps,
            ``interval()`` is continuous, or of whole numbers as ``int(interval(1,9))``; ``tag(log,interval())``
            searches its logarithm.

    Returns:
        Key to distribution, and the fixed overrides.

    Raises:
        InputError: When nothing is searched, or a range is none.
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
            if isinstance(low, int):  # as int() of it gives; Hydra reads interval(1,9) as from 1.0 to 9.0
                return IntDistribution(low, int(value.end or 0), log=log)
            return FloatDistribution(float(low), float(value.end or 0), log=log)
        if isinstance(value, RangeSweep):
            values = list(value.range())
            if all(isinstance(number, int) for number in values):
                return IntDistribution(values[0], values[-1], step=int(value.step))
            return FloatDistribution(float(values[0]), float(values[-1]), step=float(value.step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{override.input_line}: is no range to search ({error})") from None


def corners(space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
    """Return points that together have every category, and both ends of every range."""
    ends = {
        key: list(kind.choices) if isinstance(kind, CategoricalDistribution) else [kind.low, kind.high]  # type: ignore[attr-defined]
        for key, kind in space.items()
    }
    most = max(len(values) for values in ends.values())
    return [{key: values[min(index, len(values) - 1)] for key, values in ends.items()} for index in range(most)]


def _as_overrides(params: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in params.items()]


def _jobs_of(runner: Runner, trial: int) -> list[Job]:
    return [job for job in runner.jobs if job.trial == trial]


def _ask_for_the_end(job: Job, runner: Runner) -> None:
    if runner.status(job) not in manifest.ENDED:
        folder = job.folder(runner.folder)
        folder.mkdir(exist_ok=True)
        (folder / manifest.PRUNE_FILE).touch()


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
        return optuna.pruners.MedianPruner(n_warmup_steps=FIRST_JUDGED_EPOCH)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.NopPruner()
