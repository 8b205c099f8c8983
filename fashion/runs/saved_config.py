"""The configuration that a run has saved, as what Hydra composes when the run is resumed.

The files that it was composed from may have changed since, may be gone, or were never this project's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from fashion.config.renames import upgrade_config
from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder

CONFIG_NAME = "saved_run"


def offer_saved_config(run: RunFolder, overrides: Sequence[str], choices: Mapping[str, object]) -> None:
    """Let Hydra find a run's saved configuration as ``--config-name=saved_run``.

    What belongs to Hydra, such as its logging, is this project's; so are ``trainer`` keys that were added since.

    Args:
        run: The run.
        overrides: Those that it was started with, which stay recorded with it.
        choices: Group to choice, which stay recorded too.

    Raises:
        InputError: When the configuration is missing or damaged.
    """
    project: Any = OmegaConf.to_container(OmegaConf.load(PROJECT / "configs" / "train.yaml"), resolve=False)
    saved = upgrade_config(run.read_training_config())
    saved["trainer"].pop("overwrite", None)  # that was about the run before
    node = {
        **saved,
        "run_folder": project["run_folder"],
        "defaults": [{"trainer": "default"}, "_self_", *filter(_is_override, project["defaults"])],
        "hydra": {**project["hydra"], "overrides": {"task": list(overrides)}, "runtime": {"choices": dict(choices)}},
    }
    ConfigStore.instance().store(CONFIG_NAME, node)


def _is_override(default: object) -> bool:
    return isinstance(default, dict) and any(str(key).startswith("override ") for key in default)
