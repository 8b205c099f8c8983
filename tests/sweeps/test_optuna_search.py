import contextlib
import csv
import json
from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from fashion.config.renames import ADDED
from fashion.errors import FashionError
from fashion.runs.folder import RunFolder
from fashion.runs.result import RunResult
from fashion.sweeps import results
from fashion.sweeps.manifest import FOLD, SEED, SweepJob, SweepManifest
from fashion.sweeps.optuna_search import SWEEP_ATTRIBUTE, OptunaSearch, _equal_job, corners, search_space
from fashion.sweeps.runner import JobRunner
from fashion.sweeps.sweep_page import write_report

QUICK = ("model=cnn", "model.widths=[8]", "model.dense_units=[16]", "data.limit=1000", "trainer.epochs=1")
SETTINGS = {
    "resume": None, "objective": "val_accuracy", "cores_per_job": None, "trials": 9, "repeats": 1, "concurrency": None,
    "sampler": "tpe", "pruner": "none", "seed": 0, "storage": None, "study": None,
}  # fmt: skip


def parsed(*arguments):
    return OverridesParser.create().parse_overrides(list(arguments))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("a=x,y", CategoricalDistribution(["x", "y"])),
        ("a=1,2", CategoricalDistribution(["1", "2"])),
        ("a=[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"])),
        ("a=range(16,129,16)", IntDistribution(16, 128, step=16)),
        ("a=range(0,4)", IntDistribution(0, 3)),
        ("a=range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("a=interval(1,5)", FloatDistribution(1.0, 5.0)),
        ("a=int(interval(1,5))", IntDistribution(1, 5)),
        ("a=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("a=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
    ],
)
def test_what_is_searched(argument, expected):
    space, fixed = search_space(parsed("model=cnn", argument))
    assert (space, fixed) == ({"a": expected}, ["model=cnn"])


@pytest.mark.parametrize("argument", ["a=interval(5,1)", "a=tag(log,interval(0,1))"])
def test_an_empty_range_is_refused(argument):
    with pytest.raises(FashionError, match="is not a valid range to search"):
        search_space(parsed(argument))


def test_the_corners_of_a_space_have_every_category_and_both_ends():
    space, _ = search_space(parsed("a=x,y,z", "b=interval(0,1)"))
    assert corners(space) == [{"a": "x", "b": 0.0}, {"a": "y", "b": 1.0}, {"a": "z", "b": 1.0}]


@pytest.fixture
def runner(tmp_path):
    """A runner that launches nothing."""
    return JobRunner(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}), None, None, SweepManifest([], {}))


def write_job(runner, trial: int, status: str | None, accuracy: float | None = None, losses: tuple = ()) -> SweepJob:
    job = SweepJob(len(runner.jobs), [], {}, trial)
    runner.jobs.append(job)
    folder: Path = job.folder(runner.folder).path
    (folder / ".hydra").mkdir(parents=True)
    if status:
        metrics = {} if accuracy is None else {"val_accuracy": accuracy, "val_loss": 1 - accuracy}
        (folder / "result.json").write_text(json.dumps({"status": status, "metrics": metrics}))
    lines = [f"{epoch},{loss}" for epoch, loss in enumerate(losses, start=1)]
    (folder / "history.csv").write_text("\n".join(["epoch,val_loss", *lines]))
    return job


@pytest.mark.parametrize(
    ("jobs", "state", "value"),
    [
        ([("completed", 0.7), ("completed", 0.9)], TrialState.COMPLETE, 0.8),
        ([("completed", 0.7), ("failed", None)], TrialState.FAIL, None),
        ([("completed", 0.7), ("interrupted", None)], TrialState.FAIL, None),
        ([("completed", None), ("completed", 0.9)], TrialState.FAIL, None),  # its loss was not a number
    ],
)
def test_a_trial_is_the_mean_of_its_seeds(runner, jobs, state, value):
    search = OptunaSearch(**SETTINGS)
    study = search.open_study(runner)
    trial = study.ask({"a": FloatDistribution(0, 1)})
    for status, accuracy in jobs:
        write_job(runner, trial.number, status, accuracy)
    search.report_result(runner, study, trial.number)
    reported = study.trials[0]
    assert reported.state is state
    assert reported.value == (value if value is None else pytest.approx(value))


def pruned(runner) -> list[str]:
    return [path.name for path in sorted(runner.folder.iterdir()) if RunFolder(path).prune_requested]


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_a_trial_with_a_higher_loss_than_the_others_is_pruned(runner, objective):
    search = OptunaSearch(**{**SETTINGS, "objective": objective, "pruner": "median"})
    study = search.open_study(runner)
    sign = -1 if objective == "val_accuracy" else 1
    for loss in (0.5, 0.52, 0.54, 0.56, 0.58):  # the median pruner judges from the sixth trial on
        done = study.ask()
        for epoch in (1, 2, 3):
            done.report(sign * loss, epoch)
        study.tell(done, 0.8)
    good, bad = study.ask(), study.ask()
    jobs = [write_job(runner, good.number, None, losses=(0.5, 0.5)), write_job(runner, bad.number, None, losses=(0.9,))]
    waiting = SweepJob(2, [], {}, bad.number)
    runner.jobs.append(waiting)
    with search.pruning([good, bad]):
        search.prune_running_trials(runner)
        assert not pruned(runner), "the first epoch is too early to judge"
        (jobs[1].folder(runner.folder).path / "history.csv").write_text("epoch,val_loss\n1,0.9\n2,0.9\n")
        search.prune_running_trials(runner)
    assert pruned(runner) == ["1", "2"]
    assert runner.status(waiting) == "pruned"
    (jobs[1].folder(runner.folder).path / "result.json").write_text(json.dumps({"status": "interrupted"}))
    search.report_result(runner, study, bad.number)
    assert study.trials[bad.number].state is TrialState.PRUNED


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_the_sampler_of_a_resumed_sweep_does_not_repeat_itself(runner, sampler):
    search = OptunaSearch(**{**SETTINGS, "sampler": sampler})
    drawn = []
    for _ in range(2):
        study = search.open_study(runner)  # as a resumed sweep does
        for _ in range(3):
            trial = study.ask({"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)})
            drawn.append((trial.params["a"], trial.params["b"]))
            study.tell(trial, trial.params["a"])
    assert len(set(drawn)) == 6


def test_a_resumed_sweep_whose_study_is_gone_is_one_line(runner):
    runner.resumed = True
    runner.jobs.append(SweepJob(0, [], {}, trial=0))
    search = OptunaSearch(**SETTINGS)
    with pytest.raises(FashionError, match=r"sweep\.storage: study .* has no trial 0, but the sweep to resume has"):
        search._unfinished(runner, search.open_study(runner), {})


def test_sweeps_that_share_a_study_leave_each_others_trials_alone(tmp_path):
    """On two machines their folders may have the same name, or even the same path."""
    search = OptunaSearch(**{**SETTINGS, "storage": f"sqlite:///{tmp_path / 'shared.db'}", "study": "shared"})
    first, second = (
        JobRunner(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}), None, None, SweepManifest([], {}))
        for _ in range(2)
    )
    study = search.open_study(first)
    trial = study.ask()
    trial.set_user_attr(SWEEP_ATTRIBUTE, first.manifest.identity)
    search._close_lost_trials(second, study)
    assert study.trials[0].state is TrialState.RUNNING
    search._close_lost_trials(first, study)
    assert study.trials[0].state is TrialState.FAIL


def test_jobs_on_other_data_are_not_equal(runner):
    """A configuration is compared without the place of its data, whose digest is known only once it is read."""
    for root in ("photos", "cleaned", "photos"):
        write_job(runner, len(runner.jobs), "completed").overrides.append(f"data.root={root}")
    assert [_equal_job(runner, job, set()) for job in runner.jobs] == [None, None, 0]


def test_a_study_that_is_lost_is_one_line(sweep, monkeypatch):
    def lost(self, *_):
        raise optuna.exceptions.StorageInternalError("the connection was closed")

    monkeypatch.setattr(OptunaSearch, "report_result", lost)
    with pytest.raises(FashionError, match=r"sweep\.storage: the study cannot be used any more \(the connection was"):
        sweep("width=1,2")


def test_a_study_that_cannot_be_reached_for_a_moment_delays_pruning(runner, monkeypatch):
    def unreachable(*_):
        raise OperationalError("UPDATE", {}, Exception("the connection was closed"))

    search = OptunaSearch(**{**SETTINGS, "pruner": "median"})
    trial = search.open_study(runner).ask()
    write_job(runner, trial.number, None, losses=(0.9, 0.8))
    with search.pruning([trial]):
        with monkeypatch.context() as patch:
            patch.setattr(type(trial), "report", unreachable)
            search.prune_running_trials(runner)
        assert trial.study.trials[0].intermediate_values == {}
        search.prune_running_trials(runner)
    assert trial.study.trials[0].intermediate_values == {1: -0.9, 2: -0.8}


class Recorded(JobRunner):
    """A runner of jobs that end at once: the objective is a tenth of the choice, and a choice of 9 fails."""

    def __init__(self, folder: Path, manifest: SweepManifest) -> None:
        launcher = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}
        super().__init__(
            OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "launcher": launcher}}), None, None, manifest
        )
        self.ran: list[int] = []
        self.killed_at: int | None = None

    def check(self, choices):
        pass

    def compose(self, overrides):
        chosen = {"width": 1, SEED: 0} | {
            key: int(value) for key, _, value in (each.partition("=") for each in overrides)
        }
        trainer = {"seed": chosen[SEED], "resume": None, "overwrite": False, **ADDED["trainer"]}
        return {
            "run_folder": ".",
            "trainer": trainer,
            "data": {"fold": chosen.get(FOLD)},
            "model": {"width": chosen["width"]},
        }

    def _launch(self, jobs):
        for job in jobs:
            if len(self.ran) == self.killed_at:
                raise KeyboardInterrupt
            self.ran.append(job.number)
            width, seed = job.config["model"]["width"], job.config["trainer"]["seed"]
            fold = job.config["data"]["fold"] or 0
            metrics = {"val_accuracy": width / 10 + seed / 100 + fold / 1000, "val_loss": 1.0}
            ended = RunResult(status="failed") if width == 9 else RunResult(status="completed", metrics=metrics)
            job.folder(self.folder).write_result(ended)

    def configs(self) -> list[tuple[int, int]]:
        """The choices of the jobs that ran, in their order."""
        found = [self.jobs[number].config for number in self.ran]
        return [(config["model"]["width"], config["trainer"]["seed"]) for config in found]


@pytest.fixture
def sweep(tmp_path):
    """Run a search to its end, or to where it is killed; a second call resumes it."""

    def run(*space: str, killed_at: int | None = None, **settings):
        stored = SweepManifest.read(tmp_path)
        search = OptunaSearch(**{**SETTINGS, "sampler": "random", **settings})
        runner = Recorded(tmp_path, stored or SweepManifest([], {"objective": "val_accuracy", "trials": search.trials}))
        runner.killed_at = killed_at
        with pytest.raises(KeyboardInterrupt) if killed_at is not None else contextlib.nullcontext():
            search.run(runner, parsed(*space))
        return runner, search.open_study(runner).trials

    return run


@pytest.mark.parametrize("concurrency", [1, 3, 12])
def test_a_configuration_is_trained_once(sweep, concurrency):
    runner, trials = sweep("width=1,2,3", trials=12, concurrency=concurrency)
    assert sorted(runner.configs()) == [(1, 0), (2, 0), (3, 0)]
    assert len(runner.jobs) == len(trials) == 12
    for trial in trials:
        assert trial.state is TrialState.COMPLETE
        assert trial.value == pytest.approx(int(trial.params["width"]) / 10)
    table = write_report(runner.folder)
    assert "12 completed of 12 jobs, 9 of them with the result of another" in table.text()
    assert table.best[1].number in runner.ran
    assert [effect.jobs for effect in table.effects()["width"]] == [1, 1, 1]
    with (runner.folder / "sweep.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        original = rows[int(row["same_as"] or row["job"])]
        assert (row["width"], row["val_accuracy"]) == (original["width"], original["val_accuracy"])
        assert original["same_as"] == ""
    assert (runner.folder / "sweep.html").read_text().count("completed = job ") == 9


def test_what_failed_is_trained_again_and_what_is_known_is_not(sweep):
    runner, trials = sweep("width=1,9", trials=8)
    failed = [trial.number for trial in trials if trial.params["width"] == "9"]
    assert len(failed) > 1
    assert runner.configs().count((9, 0)) == len(failed)
    assert runner.configs().count((1, 0)) == 1
    assert {trials[number].state for number in failed} == {TrialState.FAIL}


def test_another_seed_is_another_configuration(sweep):
    runner, _ = sweep("width=1,2", "trainer.seed=0,1", trials=16)
    assert sorted(runner.configs()) == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_each_seed_of_a_repeated_trial_is_trained_once(sweep):
    runner, trials = sweep("width=1,2", trials=6, repeats=2)
    assert sorted(runner.configs()) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert {trial.params["width"]: pytest.approx(trial.value) for trial in trials} == {"1": 0.105, "2": 0.205}


@pytest.mark.parametrize("repeats", [1, 2])
def test_every_trial_trains_all_folds(sweep, repeats):
    runner, trials = sweep("width=1,2", "data.fold=range(0,3)", trials=5, repeats=repeats)
    assert all(set(trial.params) == {"width"} for trial in trials)
    assert len(runner.jobs) == 5 * 3 * repeats
    assert len(runner.ran) == 2 * 3 * repeats
    of_first = [job.config for job in runner.jobs if job.trial == 0]
    assert [(config["trainer"]["seed"], config["data"]["fold"]) for config in of_first] == [
        (seed, fold) for seed in range(repeats) for fold in range(3)
    ]
    mean = 0.001 + (0.005 if repeats == 2 else 0)
    assert {trial.params["width"]: pytest.approx(trial.value) for trial in trials} == {"1": 0.1 + mean, "2": 0.2 + mean}
    assert f"of {5 * 3 * repeats} jobs" in results.read(runner.folder).text()


def test_folds_are_not_an_interval(sweep):
    with pytest.raises(FashionError, match=r"data.fold=interval\(0,4\): got an interval, expected the folds"):
        sweep("width=1,2", "data.fold=interval(0,4)")


@pytest.mark.parametrize("concurrency", [1, 5])
@pytest.mark.parametrize("killed_at", [0, 1, 2])
def test_a_killed_sweep_is_resumed_without_training_anything_twice(sweep, killed_at, concurrency):
    settings = {"trials": 10, "concurrency": concurrency, "sampler": "tpe"}
    first, _ = sweep("width=1,2,3", killed_at=killed_at, **settings)
    second, trials = sweep("width=1,2,3", **settings)
    configs = [*first.configs(), *second.configs()]
    assert len(configs) == len(set(configs)) == len({trial.params["width"] for trial in trials})
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert len(completed) == len(second.jobs) == 10
    assert all(trial.value == pytest.approx(int(trial.params["width"]) / 10) for trial in completed)


def test_only_trials_that_train_are_pruned(sweep, monkeypatch):
    prunable = []

    def pruning(self, trials):
        prunable.extend(trial.number for trial in trials)
        return contextlib.nullcontext()

    monkeypatch.setattr(OptunaSearch, "pruning", pruning)
    runner, _ = sweep("width=1,2", trials=6, concurrency=6, pruner="median")
    assert prunable == runner.ran


def test_a_sweep_over_equal_choices_trains_one(run_command, fashion_mnist_root, tmp_path):
    space = ("optimizer=sgd", "optimizer.momentum=0.9,0.90,9e-1")
    options = (*QUICK, *space, "hparams_search=optuna", "sweep.trials=3", "sweep.sampler=random", "callbacks=none")
    run = run_command("train.py", "-m", *options, f"hydra.sweep.dir={tmp_path}")
    assert run.returncode == 0, run.stderr
    assert "3 completed of 3 jobs, 2 of them with the result of another" in run.stdout
    lines = [line for line in run.stdout.splitlines() if line.startswith("#")]
    assert [line.count("  = #0  ") for line in lines] == [0, 1, 1]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir() and path.name.isdecimal()) == ["0"]


def test_a_study_in_postgresql_is_resumed_and_repeats_what_failed(
    run_command, fashion_mnist_root, empty_postgresql_url, tmp_path
):
    search = ("hparams_search=optuna", "sweep.trials=2", "sweep.sampler=random", "sweep.study=shared")
    space = ("optimizer=sgd", "optimizer.learning_rate=0.01,1e+30")
    storage = f"sweep.storage='{empty_postgresql_url}'"
    options = ("-m", *QUICK, *search, storage, *space, "callbacks=none", f"hydra.sweep.dir={tmp_path}")
    first = run_command("train.py", *options)
    assert first.returncode == 2, first.stdout
    assert "1 of 2 jobs did not complete" in first.stderr
    database = optuna.storages.RDBStorage(empty_postgresql_url)
    study = optuna.load_study(study_name="shared", storage=database)
    states = {trial.params["optimizer.learning_rate"]: trial.state for trial in study.trials}
    assert states == {"0.01": TrialState.COMPLETE, "1e+30": TrialState.FAIL}
    assert 0 < study.best_value < 1

    again = run_command("train.py", "-m", f"sweep.resume={tmp_path}")
    assert again.returncode == 2
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 1
    assert [trial.state for trial in study.trials].count(TrialState.FAIL) == 2
    database.engine.dispose()  # Optuna leaves its connections to the garbage collector
