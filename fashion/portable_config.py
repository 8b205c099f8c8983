"""The configuration inside a ``.keras`` file, reduced to what inference needs: Keras 3.10 reads it, and later ones.

Each release of Keras adds arguments to its layers and writes them all, and an older one refuses those that it does not
know. So arguments that only training reads are left out, and arguments that have their default value: between 3.10 and
3.15 no default has changed (``tests/test_keras_versions.py`` loads files in real older releases).
"""

import importlib
import inspect
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a process that only verifies a model does without Keras
    import keras

TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")

ALWAYS_READ = {"offset"}  # Rescaling's, which it takes from the configuration also where it is the default

Node = dict[str, Any]  # a part of the JSON document


def make_portable(file: Path) -> None:
    """Reduce the configuration in a ``.keras`` file that Keras has just written; the weights stay, bit for bit."""
    with zipfile.ZipFile(file) as archive:
        members = {member: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(file, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, portable(content) if member.filename == "config.json" else content)


def portable(config: bytes) -> bytes:
    """Return a model's configuration without what inference does not need.

    Args:
        config: The JSON document ``config.json``.
    """
    content = json.loads(config)
    for node in nodes(content):
        operation = _operation(node.get("module"), node.get("class_name"))
        if operation:
            not_needed = _not_needed(operation, node["config"])
            node["config"] = {
                name: _policy_name(value) if name == "dtype" else value
                for name, value in node["config"].items()
                if name not in not_needed
            }
    return json.dumps(content).encode()


def nodes(config: Any) -> Iterator[Node]:
    """Yield every dictionary in a JSON document, the outer ones first."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _not_needed(operation: "type[keras.Operation]", arguments: Node) -> set[str]:
    """Return the arguments of an operation that its configuration does without."""
    import keras

    parameters = inspect.signature(operation.__init__).parameters
    at_default = {name for name in arguments.keys() & parameters.keys() if arguments[name] == parameters[name].default}
    training_only = {name for name in arguments if name.endswith(TRAINING_ONLY)}
    # The graph calls an operation by the name beside its configuration; in 3.10 it has none of its own.
    return (at_default - ALWAYS_READ) | training_only | (set() if issubclass(operation, keras.Layer) else {"name"})


def _operation(module: str | None, name: str | None) -> "type[keras.Operation] | None":
    """Return the layer, model or operation that a node configures; None for any other node."""
    import keras

    found = getattr(importlib.import_module(module), name, None) if module and name else None
    return found if isinstance(found, type) and issubclass(found, keras.Operation) else None


def _policy_name(policy: Any) -> Any:
    """Return a dtype policy by its name, which every release understands."""
    return policy["config"]["name"] if isinstance(policy, dict) and policy["class_name"] == "DTypePolicy" else policy
