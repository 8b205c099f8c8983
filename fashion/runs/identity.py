"""When two configurations compute the same."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from fashion.errors import InputError


def config_hash(config: dict[str, Any]) -> str:
    """Return a digest of what a run computes: equal in another folder, from another copy of the data, or resumed."""
    return hashlib.sha256(json.dumps(comparable(config), sort_keys=True).encode()).hexdigest()[:16]


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without what does not change a run's result: folders, and that it was resumed.

    Paths inside the run's folder stand relative to it. Which data they are is checked by digest wherever they lie.
    """
    text = json.dumps({key: value for key, value in config.items() if key != "run_folder"})
    content = json.loads(text.replace(json.dumps(config["run_folder"])[1:-1] + "/", ""))
    content["trainer"].pop("resume")
    content.pop("sweep", None)  # how its job was chosen
    for key in ("root", "download"):
        content["data"].pop(key, None)
    return content


def refuse_changes(stored: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse to go on with another configuration than a run was started with; only more epochs are welcome.

    Args:
        stored: The run's configuration.
        given: The configuration to go on with.

    Raises:
        InputError: Naming the first key that differs.
    """
    for key, old, new in differences(comparable(stored), comparable(given)):
        if key == "trainer.epochs" and int(new or 0) > int(old or 0):
            continue
        advice = "raise it or leave it" if key == "trainer.epochs" else "leave it as it was, or start a new run"
        raise InputError(f"{key}: got {new!r}, but the run to resume has {old!r}; {advice}")


def differences(stored: dict[str, Any], given: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield each key, in dots, whose values differ, with both values; None stands for a key that is not there."""
    before, now = flat(stored), flat(given)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield key, before.get(key), now.get(key)


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, its keys in dots."""
    content: dict[str, Any] = {}
    for key, value in config.items():
        content |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return content
