"""Values of overrides in the grammar of Hydra's command line."""

from pathlib import Path


def quote_path(path: Path | str) -> str:
    """Quote a path so that Hydra's grammar accepts any character in it."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def unquote_path(value: str) -> str:
    """Undo the quotes of a path that was quoted for Hydra already."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1].replace(f"\\{value[0]}", value[0])
    return value
