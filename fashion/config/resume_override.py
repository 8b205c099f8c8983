"""``trainer.resume=FOLDER``: what was asked of the run that is to go on, and whether this is the way to go on."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from omegaconf import OmegaConf

from fashion.errors import InputError
from fashion.runs.identity import refuse_changes

STATE_FILE = "resume.npz"
RESULT_FILE = "result.json"


def command_line(arguments: list[str]) -> list[str]:
    """Turn ``trainer.resume=FOLDER`` into the command line that FOLDER's run was started with.

    Args:
        arguments: The overrides given now.

    Returns:
        The run's own overrides, then those given now, and the run's folder as the folder to write to; ``arguments``
        as they are when nothing is to be resumed.

    Raises:
        InputError: When FOLDER is not the folder of an unfinished run.
    """
    wanted = [_resume_value(argument) for argument in arguments if _resume_value(argument) is not None]
    if not wanted or wanted[-1] == "null":
        return arguments
    if {"-m", "--multirun"} & set(arguments):
        raise InputError("trainer.resume: got it with --multirun, expected it alone; resume one run at a time")
    value = unquoted(wanted[-1] or "")
    if not value:
        raise InputError("trainer.resume: got nothing, expected the folder of an unfinished run, or null")
    folder = Path(value).expanduser().resolve()
    stored = folder / ".hydra" / "overrides.yaml"
    if not stored.is_file():
        raise InputError(f"trainer.resume: got {folder}, expected the folder of an unfinished run (it has .hydra/)")
    if _status(folder) == "completed":
        raise InputError(f"trainer.resume: the run in {folder} is completed; there is nothing to go on with")
    try:
        overrides = [str(override) for override in OmegaConf.load(stored)] + arguments
    except yaml.YAMLError:
        raise InputError(f"{stored}: is damaged; the run's configuration is in config.yaml beside it") from None
    kept = [override for override in overrides if _resume_value(override) is None]
    return [*kept, f"trainer.resume={quoted(folder)}", f"hydra.run.dir={quoted(folder)}"]


def check(config: dict[str, Any], folder: Path) -> None:
    """Refuse what would spoil an unfinished run: another configuration, or a fresh start in its folder.

    Args:
        config: A checked, resolved training configuration.
        folder: Where it would write.

    Raises:
        InputError: Saying what differs, or how to go on.
    """
    wanted = config["trainer"]["resume"]
    if wanted is None:
        if (folder / STATE_FILE).is_file():
            raise InputError(
                f"{folder}: there is an unfinished run; go on with trainer.resume={folder}, choose another "
                f"hydra.run.dir, or remove {STATE_FILE} from it to start again"
            )
        return
    if Path(wanted).resolve() != folder.resolve():
        raise InputError(f"trainer.resume: got {wanted}, but the run would write to {folder}; leave out hydra.run.dir")
    stored = stored_about(folder)
    if stored is not None:
        refuse_changes(stored["config"], config)


def stored_about(folder: Path) -> dict[str, Any] | None:
    """Read the plain part of an unfinished run's state; None when the run ended before its first epoch did.

    Raises:
        InputError: When the file is damaged.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(json.loads(str(stored["about"])))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is damaged ({error}); remove it to start the run from its beginning") from None


def _resume_value(argument: str) -> str | None:
    """Return what an override sets ``trainer.resume`` to, None for any other override."""
    key, equals, value = argument.lstrip("+").partition("=")
    return value if equals and key == "trainer.resume" else None


def quoted(folder: Path) -> str:
    """Quote a path so that Hydra's grammar takes any character in it."""
    escaped = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def unquoted(path: str) -> str:
    """Undo the quotes of a path that was quoted for Hydra already."""
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        return path[1:-1].replace(f"\\{path[0]}", path[0])
    return path


def _status(folder: Path) -> str | None:
    """Return how the run ended; None while it runs, or when it was killed."""
    try:
        return str(json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))["status"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
