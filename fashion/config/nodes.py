"""Parts of a composed configuration as plain values, and which class or function a part names."""

from collections.abc import Mapping
from typing import Any, TypeAlias

# A whole configuration as nested dictionaries, interpolations filled in.
ResolvedConfig: TypeAlias = dict[str, Any]
# A group of it: ``_target_`` and its keyword arguments.
ConfigNode: TypeAlias = dict[str, Any]


def has_target(node: object, *targets: str) -> bool:
    """Return whether a node's ``_target_`` is one of these dotted names."""
    return isinstance(node, Mapping) and node.get("_target_") in targets
