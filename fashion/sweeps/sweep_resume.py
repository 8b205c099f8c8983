"""``sweep.resume=FOLDER``: the command line that goes on with a sweep."""

import re
from pathlib import Path

from fashion.config.resume_override import quoted, unquoted
from fashion.errors import InputError
from fashion.paths import OUTPUTS
from fashion.sweeps import manifest

OF_THE_SEARCH = re.compile(r"^(sweep\.|hparams_search$)")
MULTIRUN = {"-m", "--multirun"}


def command_line(arguments: list[str]) -> list[str]:
    """Turn ``sweep.resume=FOLDER`` into the command line of that sweep, in its folder.

    Args:
        arguments: Those given now: the sweep's own once more, or none but flags and Hydra's.

    Returns:
        The arguments with the sweep's folder as the one to write to; as they are when nothing is to be resumed.

    Raises:
        InputError: When FOLDER holds no sweep, or a sweep's settings are given without ``-m``.
    """
    keys = {argument: argument.lstrip("+~").partition("=")[0] for argument in arguments}
    of_the_search = [argument for argument, key in keys.items() if OF_THE_SEARCH.match(key)]
    if of_the_search and not MULTIRUN & set(arguments):
        raise InputError(f"{keys[of_the_search[0]]}: got it without --multirun (-m), expected it with a sweep")
    wanted = [argument.partition("=")[2] for argument, key in keys.items() if key == "sweep.resume"]
    if not wanted or wanted[-1] == "null":
        return arguments
    folder = _folder(unquoted(wanted[-1]))
    stored = manifest.read(folder)
    if stored is None:
        raise InputError(f"sweep.resume: got {folder}, expected the folder of a sweep (it has {manifest.PLAN_FILE})")
    kept = [argument for argument, key in keys.items() if key not in {"sweep.resume", "hydra.sweep.dir"}]
    own = [argument for argument in kept if not argument.startswith(("-", "hydra.", "hydra/", "sweep."))]
    if not own:
        given = {argument.partition("=")[0] for argument in kept}
        kept += [argument for argument in _plain(stored.arguments) if argument.partition("=")[0] not in given]
    kept += [f"sweep.resume={quoted(folder)}", f"hydra.sweep.dir={quoted(folder)}"]
    flags = [argument for argument in kept if argument.startswith("-") or "=" not in argument]
    return [argument for argument in kept if argument not in flags] + flags  # argparse wants the overrides in one piece


def _plain(stored: list[str]) -> list[str]:
    """Leave out that the sweep was resumed already."""
    return [argument for argument in stored if not argument.startswith("sweep.resume=")]


def _folder(wanted: str) -> Path:
    if not wanted:
        raise InputError("sweep.resume: got nothing, expected the folder of a sweep, latest, or null")
    if wanted != "latest":
        return Path(wanted).expanduser().resolve()
    sweeps = sorted(path.parent for path in (OUTPUTS / "multirun").glob(f"*/{manifest.PLAN_FILE}"))
    if not sweeps:
        raise InputError(f"sweep.resume: got latest, but there is no sweep in {OUTPUTS / 'multirun'}")
    return max(sweeps, key=lambda folder: (folder / manifest.PLAN_FILE).stat().st_mtime)
