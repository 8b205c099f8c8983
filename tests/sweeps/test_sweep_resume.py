import json

import pytest

from fashion.errors import FashionError
from fashion.sweeps import sweep_resume
from fashion.sweeps.manifest import SweepJob, SweepManifest, refuse_other_arguments, refuse_other_configurations
from fashion.sweeps.sweep_resume import command_line

STARTED_WITH = ["model=cnn", "optimizer=adam,sgd", "sweep.objective=val_loss"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "it's, {here} = odd"
    folder.mkdir()
    SweepManifest(STARTED_WITH, {"objective": "val_loss"}).write(folder)
    return folder


def quoted(folder) -> str:
    return "'" + str(folder).replace("'", "\\'") + "'"


def test_nothing_to_resume_is_no_change():
    for arguments in (["model=cnn"], ["-m", "model=cnn,resnet", "sweep.resume=null"], ["-m", "hparams_search=optuna"]):
        assert command_line(arguments) == arguments


def test_a_sweep_is_resumed_with_its_own_arguments_in_its_own_folder(folder):
    places = [f"sweep.resume={quoted(folder)}", f"hydra.sweep.dir={quoted(folder)}"]
    own = ["hydra/launcher=joblib", *STARTED_WITH, *places, "-m"]
    assert command_line(["-m", f"sweep.resume={folder}", "hydra/launcher=joblib"]) == own
    assert command_line(["-m", *STARTED_WITH, f"sweep.resume={folder}"]) == [*STARTED_WITH, *places, "-m"]


def test_a_sweep_is_resumed_with_its_own_launcher_unless_another_is_named(folder):
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
    SweepManifest(STARTED_WITH, {}, launcher=launcher).write(folder)
    assert command_line(["-m", f"sweep.resume={folder}"])[:2] == launcher
    resumed = command_line(["-m", f"sweep.resume={folder}", "hydra/launcher=basic"])
    assert [each for each in resumed if "launcher" in each] == ["hydra/launcher=basic"]


def test_a_part_of_its_own_arguments_may_be_given_again_in_any_order(folder):
    resumed = command_line(["-m", "optimizer=adam,sgd", f"sweep.resume={folder}", "model=cnn"])
    assert resumed[: len(STARTED_WITH)] == STARTED_WITH


def test_a_deleted_key_is_resumed_and_compared(tmp_path):
    SweepManifest(["~callbacks.extra", "model=cnn"], {}).write(tmp_path)
    assert command_line(["-m", f"sweep.resume={tmp_path}"])[:2] == ["~callbacks.extra", "model=cnn"]
    with pytest.raises(FashionError, match=r"callbacks\.extra: got nothing, but the sweep to resume has ~callbacks"):
        refuse_other_arguments(["~callbacks.extra", "model=cnn"], ["model=cnn"])


def test_a_sweep_is_resumed_from_its_own_configuration_files(folder, tmp_path):
    sources = [f"hydra.searchpath=['{tmp_path}']", f"--config-dir={tmp_path / 'mine'}"]
    (tmp_path / "mine").mkdir()
    SweepManifest(STARTED_WITH, {}, sources=sources).write(folder)
    for given in ([], sources[1:], sources[:1]):
        resumed = command_line([*given, "--multirun", f"sweep.resume={folder}"])
        assert sorted(set(resumed) & {*sources}) == sorted(sources)
        assert len(resumed) == len(set(resumed))
    for other in ("--config-dir=/other", "--config-name=other", "hydra.searchpath=['/other']"):
        with pytest.raises(FashionError, match=r": got \S+, but the sweep to resume has \S+; leave it out"):
            command_line(["-m", other, f"sweep.resume={folder}"])
    (tmp_path / "mine").rmdir()
    with pytest.raises(FashionError, match=r"there is no folder .*/mine; the sweep was started with this folder"):
        command_line(["-m", f"sweep.resume={folder}"])


def test_a_setting_of_the_search_given_anew_replaces_its_own(folder):
    arguments = command_line(["-m", f"sweep.resume={folder}", "sweep.objective=val_accuracy"])
    assert [argument for argument in arguments if argument.startswith("sweep.objective")] == [
        "sweep.objective=val_accuracy"
    ]


def test_latest_is_the_sweep_that_was_started_last(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_resume, "OUTPUTS", tmp_path)
    with pytest.raises(FashionError, match="there is no sweep in"):
        command_line(["-m", "sweep.resume=latest"])
    for name in ("2026-01-02_03-04-05", "2026-01-02_03-04-06"):
        (tmp_path / "multirun" / name).mkdir(parents=True)
        SweepManifest([f"model={name}"], {}).write(tmp_path / "multirun" / name)
    assert "model=2026-01-02_03-04-06" in command_line(["-m", "sweep.resume=latest"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep.resume=x"], "sweep.resume: is set without --multirun"),
        (["hparams_search=optuna"], "hparams_search: is set without --multirun"),
        (["-m", "sweep.resume="], "sweep.resume: got nothing"),
        (["-m", "sweep.resume=/nowhere"], "sweep.resume: got /nowhere, expected the folder of a sweep"),
    ],
)
def test_a_folder_without_a_sweep_is_refused(arguments, message):
    with pytest.raises(FashionError, match=message):
        command_line(arguments)


def test_a_damaged_manifest_is_reported(folder):
    (folder / "sweep.json").write_text(json.dumps({"arguments": []}))
    with pytest.raises(FashionError, match=r"sweep\.json: is damaged"):
        command_line(["-m", f"sweep.resume={folder}"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["model=cnn", "optimizer=adam"], "optimizer: got adam, but the sweep to resume has adam,sgd"),
        (["model=cnn"], "optimizer: got nothing, but"),
        ([*STARTED_WITH, "data.limit=9"], "data.limit: got 9, but the sweep to resume has nothing"),
    ],
)
def test_another_command_line_is_refused_by_its_first_key(given, message):
    with pytest.raises(FashionError, match=message):
        refuse_other_arguments(STARTED_WITH, given)


def test_more_trials_are_accepted():
    refuse_other_arguments([*STARTED_WITH, "sweep.trials=3"], [*STARTED_WITH, "sweep.trials=9", "sweep.resume=x"])


def test_a_changed_default_is_refused_by_its_key():
    before = [SweepJob(0, ["model=cnn"], {"model": {"dropout": 0.3}, "trainer": {"epochs": 2}})]
    now = [SweepJob(0, ["model=cnn"], {"model": {"dropout": 0.3}, "trainer": {"epochs": 3}})]
    refuse_other_configurations(before, before)
    with pytest.raises(FashionError, match=r"trainer\.epochs: got 3 for job 0, but the sweep to resume has 2"):
        refuse_other_configurations(before, now)
