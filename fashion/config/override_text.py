"""Values of overrides in the grammar of Hydra's command line."""

import re
from pathlib import Path


def quote_path(path: Path | str) -> str:
    """Quote a path so that Hydra's grammar accepts any character in it.

    Only backslashes before a quote are escapes there; all others are read as they are.
    """
    escaped = re.sub(r"(\\*)('|$)", lambda end: 2 * end[1] + ("\\'" if end[2] else ""), str(path))
    return f"'{escaped}'"


def unquote_path(value: str) -> str:
    """Undo the quotes of a path that was quoted for Hydra already."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return re.sub(rf"(\\*)({value[0]}|$)", lambda end: end[1][: len(end[1]) // 2] + end[2], value[1:-1])
    return value
