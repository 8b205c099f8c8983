import json
from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from fashion.errors import FashionError
from fashion.runs.folder import RunFolder
from fashion.sweeps.manifest import SweepJob, SweepManifest
from fashion.sweeps.optuna_search import OptunaSearch, corners, search_space
from fashion.sweeps.runner import JobRunner

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
