"""Resolvers for configuration files: ``${project_folder:NAME}``, ``${unique_folder:KIND}``, ``${default_model:}``."""

import datetime
import functools

from omegaconf import OmegaConf

from fashion.paths import OUTPUTS, PROJECT, default_model


@functools.cache
def register_resolvers() -> None:
    """Register the resolvers with OmegaConf, once."""
    OmegaConf.register_new_resolver("project_folder", lambda name: str(PROJECT / name))
    OmegaConf.register_new_resolver("unique_folder", unique_folder)
    OmegaConf.register_new_resolver("default_model", lambda: str(default_model()))


@functools.cache  # Hydra asks several times; a process runs one run, or one sweep
def unique_folder(kind: str) -> str:
    """Make and return ``outputs/<kind>/<date>_<time>``, with a number appended when that exists already.

    Where it cannot be made, it is returned all the same: whoever writes there first reports it.
    """
    stem = OUTPUTS / kind / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = stem, 1
    while True:
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()  # atomic: of two runs in the same second one makes it, the other sees that it exists
        except FileExistsError:
            number += 1
            folder = stem.with_name(f"{stem.name}_{number}")
        except OSError:  # OmegaConf would hide it in an error of its own
            return str(folder)
        else:
            return str(folder)
