"""Errors about a key that no override has set: which recipe, as ``experiment=tiny``, did."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fashion.config.arguments import key_of
from fashion.errors import InputError

RECIPE_GROUPS = ("debug", "experiment")  # the last that sets a key counts


def name_recipe(error: InputError, hydra: Mapping[str, Any]) -> InputError:
    """Say in an error about a key which recipe has set it, unless an override has.

    A recipe sets keys of the choices that it makes; another choice on the command line may not have them.

    Args:
        error: Its message begins with the key.
        hydra: The ``hydra`` node of the composed configuration.
    """
    key = str(error).partition(":")[0]
    given = list(hydra["overrides"]["task"])
    if key in map(key_of, given):
        return error
    for group in RECIPE_GROUPS:
        choice = hydra["runtime"]["choices"].get(group)
        if choice and _sets(f"{group}/{choice}.yaml", key, hydra):
            others = [override for override in given if key_of(override) == key.partition(".")[0]]
            conflict = f", which cannot be combined with {others[-1]}; leave out one of the two" if others else ""
            return InputError(f"{error}; it is set by {group}={choice}{conflict}")
    return error


def _sets(name: str, key: str, hydra: Mapping[str, Any]) -> bool:
    folders = (source["path"] for source in hydra["runtime"]["config_sources"] if source["schema"] == "file")
    file = next((path for path in (Path(folder, name) for folder in folders) if path.is_file()), None)
    return file is not None and OmegaConf.select(OmegaConf.load(file), key) is not None
