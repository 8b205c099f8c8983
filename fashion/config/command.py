"""A command of this project: Hydra's configuration in, one line and an exit status out."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from fashion.backend import coordination
from fashion.cli import fail, with_exit_status
from fashion.config.arguments import normalise, quote_unreadable
from fashion.config.hydra_errors import one_sentence
from fashion.config.nodes import ResolvedConfig
from fashion.config.override_text import quote_path
from fashion.config.recipes import name_recipe
from fashion.config.resolvers import register_resolvers
from fashion.config.schema import resolved
from fashion.errors import FashionError, InputError, WriteError
from fashion.files import refuse_busy
from fashion.paths import PROJECT
from fashion.standard_output import continue_without_output

C = TypeVar("C")
CheckedConfig = TypeVar("CheckedConfig", covariant=True)
Job = Callable[[DictConfig], None]
Rewrite = Callable[[list[str]], list[str]]


class Prepare(Protocol[CheckedConfig]):
    """Checks a composed configuration and starts the backend that it names, before anything is written."""

    def __call__(self, cfg: DictConfig, make_folder: Callable[[], str]) -> CheckedConfig:
        """Return the checked configuration; see ``fashion.training.training_settings.prepare_training``."""


class Command(Generic[C]):
    """A program that composes a configuration with Hydra, checks it once, and runs a task on the result.

    Args:
        config_name: The root file in ``configs``, without its ending.
        prepare: Checks the configuration.
        task: What the command does.
        job: Runs a job of a multirun instead; None runs the task for each in this process.
        rewrite: Replaces the command line before Hydra reads it.
    """

    def __init__(
        self, config_name: str, prepare: Prepare[C], task: Callable[[C], Any], job: Job | None, rewrite: Rewrite
    ) -> None:
        self.config_name, self.prepare, self.task, self.job, self.rewrite = config_name, prepare, task, job, rewrite
        self.prepared: C | None = None

    def __call__(self) -> None:
        """Run the program to its exit status."""
        CheckBeforeRun.command = self
        with_exit_status(self._run)

    def _run(self) -> None:
        """Compose the configuration with Hydra and run the task, or each job of a multirun.

        Hydra reports every exception of a task in a line of its own, so it does not see them; the exceptions that
        Hydra itself raises are then about the configuration.

        Raises:
            InputError: The first mistake that Hydra or the task found.
        """
        os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, instead of printing and exiting with 1
        register_resolvers()
        arguments = normalise(self.rewrite(normalise(sys.argv[1:])))
        sys.argv[1:] = [quote_unreadable(argument) for argument in arguments]
        raised: list[Exception] = []

        def task(cfg: DictConfig) -> Any:
            try:
                return self._run_composed(cfg)
            except Exception as error:  # noqa: BLE001  # raised again below
                raised.append(error)
                return None

        start = hydra.main(version_base="1.3", config_path=str(PROJECT / "configs"), config_name=self.config_name)
        try:
            start(task)()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if isinstance(error.__cause__, OSError):  # the log file cannot be opened
                raise _unusable_folder(error.__cause__) from error
            raise InputError(one_sentence(error)) from error
        except OSError as error:
            raise _unusable_folder(error) from error
        if raised:
            raise raised[0]

    def _run_composed(self, cfg: DictConfig) -> Any:
        if self.job and in_multirun():
            return self.job(cfg)
        if self.prepared is None:  # a command without CheckBeforeRun, or a job of a multirun
            return self.task(self.prepare(cfg, lambda: str(cfg.run_folder)))
        return self.task(self.prepared)


def hydra_command(
    config_name: str, prepare: Prepare[C], job: Job | None = None, rewrite: Rewrite = list
) -> Callable[[Callable[[C], Any]], Command[C]]:
    """Make a command-line program of a function that takes a checked configuration.

    Returns:
        A decorator. The program exits with 0; with 2 and one ``error:`` line on standard error for wrong input or
        configuration (``FASHION_DEBUG=1`` shows the traceback); with 130 when it is interrupted.
    """
    return lambda task: Command(config_name, prepare, task, job, rewrite)


class CheckBeforeRun(Callback):
    """Hydra's hook before a run: refuse a wrong configuration while there is no run folder yet.

    Attributes:
        command: The command that runs in this process.
    """

    command: Command[Any]

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check, or print the error and exit: Hydra turns exceptions of its callbacks into warnings."""
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])

        def make_folder() -> str:
            return os.path.abspath(_folder("hydra.run.dir", config))

        try:
            self.command.prepared = self.command.prepare(task, make_folder)
            with read_write(config):
                config.merge_with(task)  # Hydra saves what was decided
            if coordination.is_first():
                refuse_busy(Path(make_folder()))  # before Hydra writes there
            else:
                _leave_folder_to_first(config)
        except InputError as error:
            fail(name_recipe(error, config.hydra))
        except FashionError as error:
            fail(error)
        except OSError as error:
            fail(_unusable_folder(error))
        continue_without_output()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the sweep's folder; the jobs' own configurations are not composed yet."""
        try:
            _folder("hydra.sweep.dir", config)
        except FashionError as error:
            fail(error)
        continue_without_output()


def task_overrides() -> list[str]:
    """Return the overrides of the configuration that Hydra has composed; none outside of a command."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def in_multirun() -> bool:
    """Return whether Hydra runs a job of a multirun."""
    return HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().job, "num")


def training_configuration(folder: Path, *overrides: str) -> ResolvedConfig:
    """Return what ``scripts/train.py`` with these overrides would run, writing to ``folder``.

    Raises:
        InputError: When Hydra refuses an override.
    """
    register_resolvers()
    try:
        with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
            return resolved(compose("train", [f"run_folder={quote_path(folder)}", *map(quote_unreadable, overrides)]))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(one_sentence(error)) from error


def _unusable_folder(error: OSError) -> WriteError:
    return WriteError(
        f"{error.filename or 'the folder'}: {error.strerror}; choose another with hydra.run.dir=FOLDER, "
        "or hydra.sweep.dir=FOLDER for a sweep"
    )


def _leave_folder_to_first(config: DictConfig) -> None:
    """Let Hydra make no folder, write nothing and show errors alone: process 0 of several does all that for all."""
    with read_write(config), open_dict(config):
        config.hydra.run.dir, config.hydra.output_subdir = ".", None
        config.hydra.job_logging.root = {"level": "ERROR", "handlers": ["console"]}
        del config.hydra.job_logging.handlers["file"]


def _folder(key: str, config: DictConfig) -> str:
    try:
        folder = str(OmegaConf.select(config, key) or "")
    except OmegaConfBaseException as error:  # it refers to what is not known yet, such as a job's number
        raise InputError(f"{key}: {str(error.msg).splitlines()[0]}") from None
    if not folder.strip():
        raise InputError(f"{key}: got nothing, expected a folder")
    return folder
