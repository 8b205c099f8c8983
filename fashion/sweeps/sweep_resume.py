"""``sweep.resume=FOLDER``: the command line that resumes a sweep."""

import re
from pathlib import Path

from fashion.config.override_text import quote_path, unquote_path
from fashion.errors import InputError
from fashion.paths import OUTPUTS
from fashion.sweeps.manifest import MANIFEST_FILE, SweepManifest

SEARCH_KEY = re.compile(r"^(sweep\.|hparams_search$)")
MULTIRUN_FLAGS = {"-m", "--multirun"}


def command_line(arguments: list[str]) -> list[str]:
    """Turn ``sweep.resume=FOLDER`` into the command line of that sweep, in its folder.

    Args:
        arguments: The arguments given now: the sweep's own again, or only flags and Hydra's own.

    Returns:
        The arguments with the sweep's folder as the output folder; unchanged when nothing is to be resumed.

    Raises:
        InputError: When FOLDER is not a sweep's, or a sweep's settings are given without ``-m``.
    """
    keys = {argument: argument.lstrip("+~").partition("=")[0] for argument in arguments}
    search_arguments = [argument for argument, key in keys.items() if SEARCH_KEY.match(key)]
    if search_arguments and not MULTIRUN_FLAGS & set(arguments):
        raise InputError(f"{keys[search_arguments[0]]}: is set without --multirun (-m); it applies to sweeps only")
    wanted = [argument.partition("=")[2] for argument, key in keys.items() if key == "sweep.resume"]
    if not wanted or wanted[-1] == "null":
        return arguments
    folder = _folder(unquote_path(wanted[-1]))
    stored = SweepManifest.read(folder)
    if stored is None:
        raise InputError(f"sweep.resume: got {folder}, expected the folder of a sweep (it has {MANIFEST_FILE})")
    kept = [argument for argument, key in keys.items() if key not in {"sweep.resume", "hydra.sweep.dir"}]
    own = [argument for argument in kept if not argument.startswith(("-", "hydra.", "hydra/", "sweep."))]
    if not own:
        given = {argument.partition("=")[0] for argument in kept}
        kept += [argument for argument in _fresh(stored.arguments) if argument.partition("=")[0] not in given]
    kept += [f"sweep.resume={quote_path(folder)}", f"hydra.sweep.dir={quote_path(folder)}"]
    flags = [argument for argument in kept if argument.startswith("-") or "=" not in argument]
    return [argument for argument in kept if argument not in flags] + flags  # argparse wants the overrides in one piece


def _fresh(stored: list[str]) -> list[str]:
    """Leave out that the sweep was resumed before."""
    return [argument for argument in stored if not argument.startswith("sweep.resume=")]


def _folder(wanted: str) -> Path:
    if not wanted:
        raise InputError("sweep.resume: got nothing, expected the folder of a sweep, latest, or null")
    if wanted != "latest":
        return Path(wanted).expanduser().resolve()
    sweeps = sorted(path.parent for path in (OUTPUTS / "multirun").glob(f"*/{MANIFEST_FILE}"))
    if not sweeps:
        raise InputError(f"sweep.resume: got latest, but there is no sweep in {OUTPUTS / 'multirun'}")
    return max(sweeps, key=lambda folder: (folder / MANIFEST_FILE).stat().st_mtime)
