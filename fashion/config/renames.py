"""Names that configurations of earlier releases use, and what they are called now.

On the command line a former name is refused with "did you mean NEW?". In what older runs, cards and sweeps have stored
it is translated when it is read, so that they still load and resume.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fashion.config.nodes import ResolvedConfig

# A key, a key=choice, or a top-level key that became a command.
RENAMED = {
    "audit": "scripts/audit.py",
    "augment.widening": "augment.aspect_jitter",
    "experiment=seed_program": "experiment=baseline",
    "model.image_size": "model.min_image_size",
    "model.widening": "model.width_multiplier",
    "server.keep_pictures": "server.keep_images",
    "server.keep_pictures_days": "server.keep_images_days",
    "server.keep_pictures_mebibytes": "server.keep_images_mebibytes",
    "sweep.at_a_time": "sweep.concurrency",
}
MOVED_TARGETS = {
    "fashion.data.dataset.fashion_mnist": "fashion.data.fashion_mnist.fashion_mnist",
    "fashion.sweeps.optuna.OptunaSearch": "fashion.sweeps.optuna_search.OptunaSearch",
    "fashion.training.mlflow.MLflow": "fashion.training.mlflow_tracker.MLflowTracker",
}

# Options that earlier releases did not have, as they are left off.
ADDED = {
    "trainer": {
        "frozen_batch_norm": False,
        "frozen_through": None,
        "hardest_share": None,
        "hardest_from_epoch": 3,
        "hardest_to_epoch": None,
        "linear_probe": False,
        "shift_average": False,
    }
}


def upgrade_overrides(overrides: Iterable[str]) -> list[str]:
    """Return stored overrides of the command line (``key=value``, ``+key=value``, ``~key``) with today's names."""
    return [_upgrade_override(override) for override in overrides]


def upgrade_config(config: Mapping[str, Any]) -> ResolvedConfig:
    """Return a stored configuration with today's keys and targets.

    Args:
        config: Nested dictionaries whose top-level keys are groups.
    """
    upgraded = _upgrade_node(config, parent="")
    for group, options in ADDED.items():
        if group in upgraded:
            upgraded[group] = {**options, **upgraded[group]}
    return upgraded


def _upgrade_override(override: str) -> str:
    written, equals, value = override.partition("=")
    key = written.lstrip("+~")
    prefix = written[: len(written) - len(key)]
    for former, current in RENAMED.items():
        group, is_choice, choice = former.partition("=")
        if is_choice and key == group:  # a sweep lists several: experiment=seed_program,smoke
            value = re.sub(rf"(?<![\w./]){choice}(?![\w./])", current.partition("=")[2], value)
    return f"{prefix}{RENAMED.get(key, key)}{equals}{MOVED_TARGETS.get(value, value)}"


def _upgrade_node(node: Mapping[str, Any], parent: str) -> ResolvedConfig:
    upgraded = {}
    for name, value in node.items():
        key = f"{parent}.{name}" if parent else name
        if isinstance(value, Mapping):
            value = _upgrade_node(value, key)
        elif name == "_target_":
            value = MOVED_TARGETS.get(value, value)
        upgraded[RENAMED.get(key, key).rpartition(".")[2]] = value
    return upgraded
