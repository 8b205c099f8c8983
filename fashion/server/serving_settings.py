"""The configuration of ``scripts/serve.py``."""

from collections.abc import Callable

from omegaconf import DictConfig

from fashion.backend.selection import Backend
from fashion.config.schema import Keys, check_values, resolved
from fashion.server.settings import Settings


class ServingSettings(Keys):
    """The keys of ``configs/serve.yaml``, the ``server`` group among them."""

    artifact: str
    backend: Backend
    server: Settings


def prepare_serving(cfg: DictConfig, make_folder: Callable[[], str]) -> ServingSettings:
    """Check a composed configuration. No backend is started, since workers are forked first, and there is no folder.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    config = resolved(cfg)
    server = check_values("server", config.get("server"), Settings)
    return check_values("", {**config, "server": server}, ServingSettings)
