"""The command line as Hydra reads it: overrides first, then flags, and paths that mean the same in any folder."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from fashion.config.override_text import quote_path
from fashion.errors import InputError

MULTIRUN_FLAG = "--multirun"
SEARCH_PATH_KEY = "hydra.searchpath"

# What Hydra's grammar has no token for outside quotes; "~" stays an error, since quoted it would name a folder "~".
_NEEDS_QUOTES = re.compile(r"[^\w/\-+.$%*@?|:\s,\[\](){}'\"\\~]", re.ASCII)
_STRUCTURE = set("(){}'\"\\")
_SYNTAX = _STRUCTURE | set(",[]~")  # what is a part of the path only inside quotes
_FOLDER_FLAGS = ("config_path", "config_dir")
_PLACES = ("data.root", "data.file", "data.path", "data.cache", "model.weights")


def normalise(arguments: Sequence[str]) -> list[str]:
    """Return a command line that Hydra reads in the same way wherever its parts were, in whatever folder it runs.

    Flags may be between the overrides, which Hydra's own parser refuses. Relative folders of configuration files
    (``--config-path``, ``--config-dir``, ``hydra.searchpath``), of data and of weights become absolute, by the current
    folder, as a run may be resumed or evaluated from another one.

    Args:
        arguments: As given by the user.

    Returns:
        The overrides in their order, then the flags in their long form, each one argument. Doing it twice changes
        nothing.

    Raises:
        InputError: When a flag is unknown or lacks its value, or a folder of configuration files does not exist.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    given = vars(parser.parse_intermixed_args(list(arguments)))
    overrides = [_absolute_place(_absolute_search_path(override)) for override in given.pop("overrides")]
    for name in _FOLDER_FLAGS:
        if given[name] is not None:
            given[name] = _absolute_folder(f"--{name.replace('_', '-')}", given[name])
    return [*overrides, *(_flag(name, value) for name, value in given.items() if value not in (None, False))]


def quote_unreadable(argument: str) -> str:
    """Quote the parts of an override's value that Hydra's grammar accepts in quotes only, such as other scripts.

    A flag, and a value with braces, parentheses, quotes or backslashes, is left as it is.
    """
    key, equals, value = argument.partition("=")
    if is_flag(argument) or not _NEEDS_QUOTES.search(value) or _STRUCTURE & set(value):
        return argument
    return key + equals + re.sub(r"[^,\[\]]+", lambda part: _quoted(part[0]), value)


def is_flag(argument: str) -> bool:
    """Return whether an argument is a flag; no override begins with a hyphen."""
    return argument.startswith("-")


def key_of(argument: str) -> str:
    """Return the key of an override, or the name of a flag: ``a.b`` of ``+a.b=1``, ``--config-dir`` of its flag."""
    return argument.lstrip("+~").partition("=")[0]


def _quoted(text: str) -> str:
    return quote_path(text.strip()) if _NEEDS_QUOTES.search(text) else text


def _absolute_search_path(override: str) -> str:
    if key_of(override) != SEARCH_PATH_KEY:
        return override
    try:
        folders = OverridesParser.create().parse_override(quote_unreadable(override)).value()
    except OverrideParseException:
        return override  # reported when Hydra reads it
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        return override
    return search_path_override([_absolute_folder(SEARCH_PATH_KEY, folder) for folder in folders])


def _absolute_place(override: str) -> str:
    """Return the override of a file or folder with an absolute path; one that is more than a path as it is."""
    key, _, place = override.partition("=")
    if key not in _PLACES or not place or place == "null" or set(place) & (_STRUCTURE | set(",$~")):
        return override
    if key == "data.path" and not glob.glob(place):  # a name on the hub
        return override
    if key == "model.weights" and not Path(place).is_file():  # the name of published ones
        return override
    path = str(Path.cwd() / place)
    return f"{key}={quote_path(path) if _SYNTAX & set(path) else path}"


def search_path_override(places: Sequence[str]) -> str:
    """Return the override that adds these places to those where Hydra looks for configuration files."""
    return f"{SEARCH_PATH_KEY}=[{','.join(quote_path(place) for place in places)}]"


def _absolute_folder(key: str, place: str) -> str:
    """Return a folder as an absolute path; a place of another kind, such as ``pkg://module``, as it is."""
    if not place.strip():
        raise InputError(f"{key}: got nothing, expected a folder of configuration files")
    kind, is_url, path = place.rpartition("://")
    if is_url and kind != "file":
        return place
    folder = Path.cwd() / Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"{key}: got {place}, but there is no folder {folder}")
    return str(folder)


def _flag(name: str, value: object) -> str:
    flag = f"--{name.replace('_', '-')}"
    return flag if value is True else f"{flag}={value}"


def _refuse(message: str) -> NoReturn:
    raise InputError(f"{message}; see --help, and --hydra-help for the flags")
