import json
import shutil

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.utils import _save_config
from hydra.types import RunMode
from omegaconf import OmegaConf

from fashion.errors import FashionError
from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder
from fashion.runs.resume_override import check, command_line
from fashion.runs.resume_state import ResumeState, TrainingProgress
from fashion.runs.run_record import RunRecord


@pytest.fixture
def folder(tmp_path):
    """A run that was started with two overrides and killed, in a folder with an awkward name."""
    folder = tmp_path / "it's, {here} = odd"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- model=cnn\n- trainer.epochs=6\n")
    return folder


def test_nothing_to_resume_is_no_change():
    assert command_line(["model=cnn", "trainer.resume=null"]) == ["model=cnn", "trainer.resume=null"]


def test_a_run_goes_on_with_its_own_overrides_in_its_own_folder(folder):
    quoted = "'" + str(folder).replace("'", "\\'") + "'"
    expected = ["model=cnn", "trainer.epochs=6", "trainer.epochs=8"]
    expected += [f"trainer.resume={quoted}", f"hydra.run.dir={quoted}"]
    assert command_line([f"trainer.resume={folder}", "trainer.epochs=8"]) == expected
    assert command_line([f"trainer.resume={quoted}", "trainer.epochs=8"]) == expected


def test_a_run_resumed_twice_is_resumed_once(folder):
    with (folder / ".hydra" / "overrides.yaml").open("a") as stored:
        stored.write("- trainer.resume=/elsewhere\n")
    arguments = command_line([f"trainer.resume={folder}"])
    assert len([argument for argument in arguments if argument.startswith("trainer.resume=")]) == 1
    assert "/elsewhere" not in str(arguments)


def test_a_run_that_replaced_another_is_resumed_and_replaces_nothing(folder):
    RunFolder(folder).write_record(RunRecord(overrides=["model=cnn", "++trainer.overwrite=true"]))
    shutil.rmtree(folder / ".hydra")  # as hydra.output_subdir=null
    arguments = command_line([f"trainer.resume={folder}"])
    assert [argument for argument in arguments if not argument.startswith(("trainer.resume=", "hydra."))] == [
        "model=cnn"
    ]


def test_resuming_and_replacing_exclude_each_other(folder):
    config = {"trainer": {"resume": str(folder), "overwrite": True}}
    with pytest.raises(FashionError, match=r"trainer\.overwrite: got true with trainer\.resume"):
        check(config, folder)


def test_a_completed_run_is_refused(folder):
    (folder / "result.json").write_text(json.dumps({"status": "completed"}))
    with pytest.raises(FashionError, match="is completed; there is nothing to resume"):
        command_line([f"trainer.resume={folder}"])


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_ended_badly_may_go_on(folder, status):
    (folder / "result.json").write_text(json.dumps({"status": status}))
    assert "model=cnn" in command_line([f"trainer.resume={folder}"])


def test_any_other_folder_is_refused(tmp_path):
    with pytest.raises(FashionError, match="expected the folder of an unfinished run"):
        command_line([f"trainer.resume={tmp_path}"])


@pytest.fixture
def own_run(tmp_path, monkeypatch):
    """A run that was started with the user's own experiment, whose file is gone."""
    mine = tmp_path / "mine" / "experiment"
    mine.mkdir(parents=True)
    (mine / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /model: cnn\ntrainer:\n  seed: 77\n")
    search_path = create_config_search_path(str(PROJECT / "configs"))
    anchor = SearchPathQuery(provider="schema")
    search_path.prepend(provider="command-line", path=f"file://{tmp_path / 'mine'}", anchor=anchor)
    overrides = ["experiment=mine", "+callbacks.extra._target_=some.Callback", "trainer.epochs=6"]
    cfg = ConfigLoaderImpl(search_path).load_configuration("train", overrides, RunMode.RUN)
    shutil.rmtree(tmp_path / "mine")
    store(cfg, tmp_path / "run")
    return tmp_path / "run"


def store(cfg, folder) -> None:
    """Write what Hydra writes when a run starts."""
    config = {key: value for key, value in OmegaConf.to_container(cfg).items() if key != "hydra"}
    _save_config(OmegaConf.create(config), "config.yaml", folder / ".hydra")
    _save_config(OmegaConf.masked_copy(cfg, ["hydra"]), "hydra.yaml", folder / ".hydra")
    _save_config(cfg.hydra.overrides.task, "overrides.yaml", folder / ".hydra")


def resume(folder, *given):
    arguments = get_args_parser().parse_args(command_line([*given, f"trainer.resume={folder}"]))
    loader = ConfigLoaderImpl(create_config_search_path(arguments.config_path))
    return loader.load_configuration(arguments.config_name, arguments.overrides, RunMode.RUN)


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["--config-dir=/elsewhere", "experiment=mine", "+callbacks.extra._target_=some.Callback"],
        ["trainer.epochs=9"],
    ],
)
def test_a_run_of_other_files_is_resumed_from_its_saved_configuration(own_run, given):
    saved = yaml.safe_load((own_run / ".hydra" / "config.yaml").read_text())
    saved["trainer"] |= {"resume": str(own_run), "epochs": 9 if "trainer.epochs=9" in given else 6}
    for _ in range(2):  # as often as one likes
        cfg = resume(own_run, *given)
        config = OmegaConf.to_container(cfg)
        hydra = config.pop("hydra")
        assert config == saved
        assert hydra["overrides"]["task"][:3] == [
            "experiment=mine", "+callbacks.extra._target_=some.Callback", "trainer.epochs=6",
        ]  # fmt: skip
        assert hydra["run"]["dir"] == str(own_run)
        assert "check" in hydra["callbacks"]
        assert hydra["runtime"]["choices"]["hydra/job_logging"] == "plain"
        store(cfg, own_run)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("experiment=smoke", "experiment: got smoke, but the run to resume has mine; leave it as it was"),
        ("model=resnet", "model: got resnet, but the run to resume has cnn"),
        ("debug=overfit", "debug: got overfit, but the run to resume has null"),
        ("~experiment", "experiment: got null, but the run to resume has mine"),
    ],
)
def test_other_choices_are_refused_by_their_own_name(own_run, choice, message):
    with pytest.raises(FashionError, match=message):
        command_line([choice, f"trainer.resume={own_run}"])


def test_a_run_without_its_saved_configuration_is_refused(own_run):
    (own_run / ".hydra" / "config.yaml").unlink()
    with pytest.raises(FashionError, match=r"it has no \.hydra/config\.yaml"):
        command_line([f"trainer.resume={own_run}"])


def test_a_run_of_other_files_is_resumed_without_hydras_copy(own_run):
    """As with ``hydra.output_subdir=null``: the configuration is in the state, the flags are in the record."""
    config = OmegaConf.to_container(OmegaConf.load(own_run / ".hydra" / "config.yaml")) | {"run_folder": str(own_run)}
    shutil.rmtree(own_run / ".hydra")
    progress = TrainingProgress(epochs=1, stopped=False, history={}, config=config, seconds=1, callbacks=[])
    RunFolder(own_run).write_resume_state(ResumeState(progress, {}))
    overrides = ["experiment=mine", "trainer.epochs=6", "trainer.overwrite=true"]
    RunFolder(own_run).write_record(RunRecord(command=["train.py", "--config-dir=/gone"], overrides=overrides))
    cfg = resume(own_run)
    assert (cfg.trainer.seed, cfg.trainer.epochs, cfg.trainer.overwrite) == (77, 6, False)
    assert list(cfg.hydra.overrides.task)[:2] == overrides[:2]
    with pytest.raises(FashionError, match="experiment: got smoke, but the run to resume has mine"):
        resume(own_run, "experiment=smoke")
