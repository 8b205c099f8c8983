"""A command of this project: Hydra's configuration in, one line and an exit status out."""

import datetime
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from fashion.cli import with_exit_status
from fashion.config.renames import RENAMED
from fashion.config.schema import resolved, unknown_key
from fashion.errors import InputError
from fashion.paths import OUTPUTS, PROJECT, default_model


def hydra_command(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make a command-line program of a function that takes a composed configuration.

    Args:
        config_name: The root file in ``configs``, without its ending.

    Returns:
        A decorator. The program exits with 0; with 2 and one ``error:`` line on standard error for wrong input or
        configuration (``FASHION_DEBUG=1`` shows the traceback); with 130 when it is interrupted.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        def program() -> None:
            with_exit_status(lambda: _run(task, config_name))

        return program

    return decorate


def _run(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the configuration with Hydra and run the task, or each task of a multirun.

    Hydra announces every exception of a task in a line of its own, so they are kept from it; what Hydra raises
    itself is then about the configuration.

    Raises:
        InputError: The first mistake that Hydra or a task found.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, instead of printing and exiting with 1
    register_resolvers()
    raised: list[Exception] = []

    def kept(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except Exception as error:  # noqa: BLE001  # raised again below
            raised.append(error)
            return None

    try:
        hydra.main(version_base="1.3", config_path=str(PROJECT / "configs"), config_name=config_name)(kept)()
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:  # OSError: of the run's folder
        raise InputError(one_sentence(error)) from error
    if raised:
        raise raised[0]


def task_overrides() -> list[str]:
    """Return the overrides of the configuration that Hydra has composed; none outside of a command."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def training_configuration(folder: Path, *overrides: str) -> dict[str, Any]:
    """Return what ``scripts/train.py`` with these overrides would run, writing to ``folder``.

    Raises:
        InputError: When Hydra refuses an override.
    """
    register_resolvers()
    try:
        with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
            return resolved(compose("train", [f"run_folder={folder}", *overrides]))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(one_sentence(error)) from error


def one_sentence(error: Exception) -> str:
    """Say in this project's words what Hydra or OmegaConf refused."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        renamed = RENAMED.get(f"{group}={choice}", "").rpartition("=")[2]
        hint = f"; did you mean {renamed}?" if renamed else ""
        return f"{group}: got {choice}, expected one of {', '.join(error.options)}{hint}"
    if isinstance(error, OverrideParseException):
        said = [line for line in error.message.splitlines() if line.strip("^ ")]
        reason = next((line for line in said if not line.startswith(("Error parsing", "See "))), "see --hydra-help")
        return f"{error.override}: cannot be read as key=value ({reason.strip()})"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and OmegaConf.is_dict(cause.parent_node):
        key = str(cause.full_key)
        return str(unknown_key(key, (name for name in cause.parent_node if name != "hydra"), key.rpartition(".")[0]))
    if "Config group override must be" in str(error):  # Hydra does not say which
        emptied = (argument for argument in sys.argv[1:] if argument.endswith("=null") and "." not in argument)
        group = next(emptied, "a group").removesuffix("=null")
        return f"{group}: got null, expected one of the choices in configs/{group}/"
    return str(error)


@functools.cache
def register_resolvers() -> None:
    """Give the configuration files ``${project_folder:NAME}``, ``${unique_folder:KIND}`` and ``${default_model:}``."""
    OmegaConf.register_new_resolver("project_folder", lambda name: str(PROJECT / name))
    OmegaConf.register_new_resolver("unique_folder", unique_folder)
    OmegaConf.register_new_resolver("default_model", lambda: str(default_model()))


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
