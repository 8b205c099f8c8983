"""When two configurations compute the same."""

import hashlib
import json
from typing import Any

from fashion.errors import FashionError


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
    for key in ("root", "download"):
        content["data"].pop(key, None)
    return content


def refuse_changes(stored: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse to go on with another configuration than a run was started with; only more epochs are welcome.

    Args:
        stored: The run's configuration.
        given: The configuration to go on with.

    Raises:
        FashionError: Naming the first key that differs.
    """
    before, now = _flat(comparable(stored)), _flat(comparable(given))
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new or (key == "trainer.epochs" and int(new or 0) > int(old or 0)):
            continue
        advice = "raise it or leave it" if key == "trainer.epochs" else "leave it as it was, or start a new run"
        raise FashionError(f"{key}: got {new!r}, but the run to resume has {old!r}; {advice}")


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
