"""``sweep.resume=FOLDER``: the command line that resumes a sweep."""

import re
from pathlib import Path

from fashion.config.arguments import is_flag, key_of, normalise
from fashion.config.override_text import quote_path, unquote_path
from fashion.config.sources import SOURCE_KEYS
from fashion.errors import InputError
from fashion.paths import OUTPUTS
from fashion.sweeps.manifest import MANIFEST_FILE, SweepManifest

SEARCH_KEY = re.compile(r"^(sweep\.|hparams_search$)")
LAUNCHER_KEY = re.compile(r"^hydra[./]launcher\b")
MULTIRUN_FLAGS = {"-m", "--multirun"}


def command_line(arguments: list[str]) -> list[str]:
    """Turn ``sweep.resume=FOLDER`` into the command line of that sweep, in its folder.

    Args:
        arguments: The arguments given now: flags, Hydra's own, and any of the sweep's own again.

    Returns:
        The sweep's own arguments, where its configuration files are and its launcher, with those given now in their
        place, and with the sweep's folder as the output folder; ``arguments`` when nothing is to be resumed.

    Raises:
        InputError: When FOLDER is not a sweep's, or a sweep's settings are given without ``-m``.
    """
    keys = {argument: key_of(argument) for argument in arguments}
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
    _refuse_other_sources(stored.sources, kept)
    hydra = [argument for argument in kept if is_flag(argument) or argument.startswith(("hydra.", "hydra/"))]
    hydra += [argument for argument in stored.sources if key_of(argument) not in {key_of(each) for each in hydra}]
    if not any(LAUNCHER_KEY.match(key_of(argument)) for argument in hydra):
        hydra += stored.launcher
    # In the order of the sweep's own, on which the numbers of its jobs depend.
    own = {key_of(argument): argument for argument in stored.arguments if key_of(argument) != "sweep.resume"}
    own |= {key_of(argument): argument for argument in kept if argument not in hydra}
    places = [f"sweep.resume={quote_path(folder)}", f"hydra.sweep.dir={quote_path(folder)}"]
    flags = [argument for argument in hydra if is_flag(argument)]
    return [*(argument for argument in hydra if argument not in flags), *own.values(), *places, *flags]


def _refuse_other_sources(stored: list[str], given: list[str]) -> None:
    """Refuse other configuration files than the sweep was started with, and any that are gone."""
    before = {key_of(argument): argument for argument in stored}
    for argument in given:
        key = key_of(argument)
        if key in SOURCE_KEYS and argument != before.get(key):
            got, had = (value.partition("=")[2] or "nothing" for value in (argument, before.get(key, "")))
            raise InputError(f"{key}: got {got}, but the sweep to resume has {had}; leave it out")
    try:
        normalise(stored)
    except InputError as error:
        raise InputError(f"{error}; the sweep was started with this folder; restore it to resume") from None


def _folder(wanted: str) -> Path:
    if not wanted:
        raise InputError("sweep.resume: got nothing, expected the folder of a sweep, latest, or null")
    if wanted != "latest":
        return Path(wanted).expanduser().resolve()
    sweeps = sorted(path.parent for path in (OUTPUTS / "multirun").glob(f"*/{MANIFEST_FILE}"))
    if not sweeps:
        raise InputError(f"sweep.resume: got latest, but there is no sweep in {OUTPUTS / 'multirun'}")
    return max(sweeps, key=lambda folder: (folder / MANIFEST_FILE).stat().st_mtime)
