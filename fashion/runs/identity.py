"""When two configurations compute the same."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fashion.config.nodes import ResolvedConfig
from fashion.errors import InputError

# Keys of `data` that say where its files are; and these with where they come from and are decoded to.
SOURCES = ("root", "file", "path")
PLACES = (*SOURCES, "download", "cache", "cache_gb")


def config_hash(config: ResolvedConfig) -> str:
    """Return a digest of what a run computes: equal in another folder, from another copy of the data, or resumed."""
    return hashlib.sha256(json.dumps(comparable(config), sort_keys=True).encode()).hexdigest()[:16]


def comparable(config: ResolvedConfig) -> ResolvedConfig:
    """Return a configuration without what does not affect a run's result: folders, resuming, overwriting.

    Paths inside the run's folder become relative to it. The data is verified by digest wherever it is stored.
    """
    text = json.dumps({key: value for key, value in config.items() if key != "run_folder"})
    content: ResolvedConfig = json.loads(text.replace(json.dumps(config["run_folder"])[1:-1] + "/", ""))
    for key in ("resume", "overwrite"):
        content["trainer"].pop(key, None)
    content.pop("sweep", None)  # how its job was chosen
    for key in PLACES:
        content["data"].pop(key, None)
    return content


def refuse_changes(stored: ResolvedConfig, given: ResolvedConfig) -> None:
    """Refuse to resume a run with another configuration than it was started with; only more epochs are accepted.

    Args:
        stored: The run's configuration.
        given: The configuration to resume it with.

    Raises:
        InputError: Naming the first key that differs.
    """
    for key, old, new in differences(comparable(stored), comparable(given)):
        if key == "trainer.epochs" and int(new or 0) > int(old or 0):
            continue
        advice = "raise it or leave it" if key == "trainer.epochs" else "leave it as it was, or start a new run"
        raise InputError(f"{key}: got {new!r}, but the run to resume has {old!r}; {advice}")


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key whose values differ, with both values; a missing key has the value None."""
    before, now = flat(stored), flat(given)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield key, before.get(key), now.get(key)


def flat(config: Mapping[str, Any], prefix: str = "") -> ResolvedConfig:
    """Return nested dictionaries as one with dotted keys."""
    content: ResolvedConfig = {}
    for key, value in config.items():
        content |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return content
