"""The configuration of ``scripts/explore.py``."""

from collections.abc import Callable

from omegaconf import DictConfig

from fashion.backend.selection import Backend, start_backend
from fashion.config.nodes import ConfigNode
from fashion.config.schema import Keys, Seed, check_target, check_values, resolved


class ExplorationSettings(Keys):
    """The keys of ``configs/explore.yaml``, which explains each."""

    data: ConfigNode
    augment: ConfigNode
    backend: Backend
    seed: Seed
    run_folder: str


def prepare_exploration(cfg: DictConfig, make_folder: Callable[[], str]) -> ExplorationSettings:
    """Check a composed configuration, and start the backend that it names; nothing is written.

    Args:
        cfg: A configuration composed from ``configs/explore.yaml``.
        make_folder: Makes the run's folder, once the configuration is known to be right.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    settings = check_values("", resolved(cfg, run_folder="."), ExplorationSettings)
    start_backend(settings.backend, seed=settings.seed)
    check_target("data", settings.data, added_by_code={"seed"})
    check_target("augment", settings.augment, added_by_code={"seed"})
    return settings.model_copy(update={"run_folder": make_folder()})
