"""A configuration that was composed from other files is composed again from its arguments, in any folder."""

import shutil

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fashion.config import resolvers
from fashion.config.arguments import normalise
from fashion.config.resolvers import unique_folder
from fashion.config.sources import source_arguments
from fashion.errors import FashionError
from fashion.paths import PROJECT
from fashion.sweeps.manifest import SweepManifest
from fashion.sweeps.runner import JobRunner


def loader_of(arguments):
    """Return Hydra's loader for a command line, made as Hydra's own command makes it."""
    given = get_args_parser().parse_args(arguments)
    search_path = create_config_search_path(given.config_path or str(PROJECT / "configs"))
    if given.config_dir:
        anchor = SearchPathQuery(provider="schema")
        search_path.prepend(provider="command-line", path=f"file://{given.config_dir}", anchor=anchor)
    return ConfigLoaderImpl(search_path), given.config_name or "train", given.overrides


def composed(arguments, mode=RunMode.RUN) -> DictConfig:
    loader, name, overrides = loader_of(arguments)
    return loader.load_configuration(name, overrides, mode)


def task(config: DictConfig) -> dict:
    return {key: value for key, value in OmegaConf.to_container(config).items() if key != "hydra"}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """In the current folder: a copy of the project's configuration with other values, and one experiment more."""
    shutil.copytree(PROJECT / "configs", tmp_path / "copy")
    with (tmp_path / "copy" / "optimizer" / "adam.yaml").open("a") as stream:
        stream.write("epsilon: 0.5\n")
    shutil.copy(tmp_path / "copy" / "train.yaml", tmp_path / "copy" / "other.yaml")
    mine = tmp_path / "it's, {mine}" / "experiment"
    mine.mkdir(parents=True)
    (mine / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /model: cnn\ntrainer:\n  seed: 77\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config-path=copy", "model=cnn"],
        ["model=cnn", "--config-path=copy", "-cn", "other", "trainer.epochs=2"],
        ["--config-dir", "it's, {mine}", "experiment=mine"],
        ['hydra.searchpath=["it\'s, {mine}"]', "experiment=mine"],
        ["-cd", "it's, {mine}", "experiment=mine", "hydra.searchpath=[copy]", "--config-path=copy"],
    ],
)
def test_the_arguments_compose_the_same_in_another_folder(folders, monkeypatch, arguments):
    first = composed(normalise(arguments))
    own = list(first.hydra.overrides.task)
    sources = source_arguments(first.hydra)
    assert sources
    stored = OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(first.hydra)))
    assert source_arguments(stored) == sources
    monkeypatch.chdir("/")
    assert normalise(sources) == sources
    assert task(composed(normalise([*own, *sources]))) == task(first)
    assert task(first)["trainer"]["seed"] == 77 or task(first)["optimizer"]["epsilon"] == 0.5


def test_the_projects_own_files_need_no_arguments():
    assert source_arguments(composed(["model=cnn"]).hydra) == []
    assert source_arguments(composed([f"--config-path={PROJECT / 'configs'}", "model=cnn"]).hydra) == []


class Recorder:
    """A launcher that records what it is to launch."""

    def launch(self, job_overrides, initial_job_idx):
        self.launched = job_overrides


def runner_of(arguments) -> JobRunner:
    loader, name, overrides = loader_of(arguments)
    config = loader.load_configuration(name, overrides, RunMode.MULTIRUN)
    return JobRunner(config, loader, Recorder(), SweepManifest(["model=cnn"], {"objective": "val_loss"}))


def test_jobs_are_composed_from_the_same_files_into_the_folder_of_the_sweep(folders, monkeypatch):
    monkeypatch.setattr(resolvers, "OUTPUTS", folders)
    unique_folder.cache_clear()
    runner = runner_of(normalise(["-cd", "it's, {mine}"]))
    (job,) = runner.add([(["experiment=mine"], None)], checked=True)
    assert job.config["trainer"]["seed"] == 77
    runner.launch(runner.jobs)
    (overrides,) = runner.launcher.launched
    unique_folder.cache_clear()  # as in a worker of joblib or Slurm, which composes by itself
    worker = runner.loader.load_sweep_config(runner.config, overrides)
    assert worker.hydra.sweep.dir == str(runner.folder)
    assert worker.trainer.seed == 77
    unique_folder.cache_clear()


def test_one_folder_for_each_job_is_refused():
    runner = runner_of(["trainer.seed=1,2", "hydra.sweep.dir=x/${trainer.seed}"])
    with pytest.raises(FashionError, match=r"hydra\.sweep\.dir: got x/1 for one job and x/0 for the sweep, expected"):
        runner.compose(["trainer.seed=1"])
