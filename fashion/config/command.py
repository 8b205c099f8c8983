"""A command of this project: Hydra's configuration in, one line and an exit status out."""

import datetime
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from fashion.config.schema import unknown_key
from fashion.errors import FashionError, with_exit_status

PROJECT = Path(__file__).resolve().parents[2]
OUTPUTS = PROJECT / "outputs"


def hydra_command(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make a command-line program of a function that takes a composed configuration.

    Args:
        config_name: The root file in ``configs``, without its ending.

    Returns:
        A decorator. The program exits with 0; with 2 and one ``error:`` line on standard error for wrong input or
        configuration (``FASHION_DEBUG=1`` shows the traceback); with 130 when it is interrupted.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(task)
        def program() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through to us instead of printing and exiting with 1
            register_resolvers()
            run = hydra.main(version_base="1.3", config_path=str(PROJECT / "configs"), config_name=config_name)(task)
            _run(run)

        return program

    return decorate


def _run(program: Callable[[], Any]) -> None:
    """Run a Hydra program, turning what Hydra and OmegaConf refuse into the project's own kind of error."""

    def translated() -> None:
        try:
            program()
        except (HydraException, OmegaConfBaseException) as error:
            raise FashionError(one_sentence(error)) from error

    with_exit_status(translated)


def one_sentence(error: HydraException | OmegaConfBaseException) -> str:
    """Say in this project's words what Hydra or OmegaConf refused."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"{group}: got {choice}, expected one of {', '.join(error.options)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value ({error.message.splitlines()[-2]})"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and OmegaConf.is_dict(cause.parent_node):
        key = str(cause.full_key)
        return str(unknown_key(key, (name for name in cause.parent_node if name != "hydra"), key.rpartition(".")[0]))
    return str(error)


@functools.cache
def register_resolvers() -> None:
    """Give the configuration files ``${project_folder:NAME}`` and ``${unique_folder:KIND}``."""
    OmegaConf.register_new_resolver("project_folder", lambda name: str(PROJECT / name))
    OmegaConf.register_new_resolver("unique_folder", unique_folder)


@functools.cache  # Hydra asks several times; a process runs one run, or one sweep
def unique_folder(kind: str) -> str:
    """Make and return ``outputs/<kind>/<date>_<time>``, with a number behind it when another run was as quick."""
    stem = OUTPUTS / kind / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    stem.parent.mkdir(parents=True, exist_ok=True)
    folder, number = stem, 1
    while True:
        try:
            folder.mkdir()  # atomic: of two runs in the same second one makes it, the other sees that it exists
        except FileExistsError:
            number += 1
            folder = stem.with_name(f"{stem.name}_{number}")
        else:
            return str(folder)
