"""``trainer.resume=FOLDER``: find out what was asked of the run that is to go on."""

import json
from pathlib import Path

from omegaconf import OmegaConf

from fashion.errors import FashionError


def command_line(arguments: list[str]) -> list[str]:
    """Turn ``trainer.resume=FOLDER`` into the command line that FOLDER's run was started with.

    Args:
        arguments: The overrides given now.

    Returns:
        The run's own overrides, then those given now, and the run's folder as the folder to write to; ``arguments``
        as they are when nothing is to be resumed.

    Raises:
        FashionError: When FOLDER is not the folder of an unfinished run.
    """
    prefix = "trainer.resume="
    wanted = [argument.removeprefix(prefix) for argument in arguments if argument.startswith(prefix)]
    if not wanted or wanted[-1] in {"", "null"}:
        return arguments
    folder = Path(_unquoted(wanted[-1])).expanduser().resolve()
    stored = folder / ".hydra" / "overrides.yaml"
    if not stored.is_file():
        raise FashionError(f"trainer.resume: got {folder}, expected the folder of an unfinished run (it has .hydra/)")
    if _status(folder) == "completed":
        raise FashionError(f"trainer.resume: the run in {folder} is completed; there is nothing to go on with")
    overrides = [str(override) for override in OmegaConf.load(stored)] + arguments
    kept = [override for override in overrides if not override.startswith(prefix)]
    return [*kept, f"{prefix}{_quoted(folder)}", f"hydra.run.dir={_quoted(folder)}"]


def _quoted(folder: Path) -> str:
    """Quote a path so that Hydra's grammar takes any character in it."""
    escaped = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _unquoted(path: str) -> str:
    """Undo the quotes of a path that was quoted for Hydra already."""
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        return path[1:-1].replace(f"\\{path[0]}", path[0])
    return path


def _status(folder: Path) -> str | None:
    """Return how the run ended; None while it runs, or when it was killed."""
    try:
        return str(json.loads((folder / "result.json").read_text(encoding="utf-8"))["status"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
