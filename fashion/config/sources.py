"""Which files a configuration was composed from, as the arguments that choose the same files again."""

import os
from collections.abc import Mapping
from typing import Any

from fashion.config.arguments import SEARCH_PATH_KEY, search_path_override
from fashion.paths import PROJECT

TRAINING_CONFIG = "train"  # configs/train.yaml
# What chooses the files that a configuration is composed from.
SOURCE_KEYS = {"--config-path", "--config-dir", "--config-name", SEARCH_PATH_KEY}


def source_arguments(hydra: Mapping[str, Any]) -> list[str]:
    """Return the arguments that make a training read its configuration from the same files, in any folder.

    Args:
        hydra: The ``hydra`` node of a configuration that Hydra has composed, or has stored.

    Returns:
        Flags and at most one override, with absolute paths; empty when only this project's own files were read.
    """
    flags, search_path = [], []
    for source in hydra["runtime"]["config_sources"]:
        path, provider = source["path"], source["provider"]
        place = os.path.abspath(path) if source["schema"] == "file" else f"{source['schema']}://{path}"
        if provider == "main" and os.path.realpath(place) != str(PROJECT / "configs"):
            flags.append(f"--config-path={place}")
        elif provider == "command-line":
            flags.append(f"--config-dir={place}")
        elif provider.startswith("hydra.searchpath"):
            search_path.append(place)
    if hydra["job"]["config_name"] != TRAINING_CONFIG:
        flags.append(f"--config-name={hydra['job']['config_name']}")
    return [search_path_override(search_path), *flags] if search_path else flags
