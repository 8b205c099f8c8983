"""The configuration of ``scripts/audit.py``."""

from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from fashion import artifact
from fashion.backend.selection import Backend, start_backend
from fashion.config.nodes import ConfigNode
from fashion.config.schema import Keys, Seed, check_target, check_values, resolved
from fashion.extras import check_packages


class AuditSettings(Keys):
    """The keys of ``configs/audit.yaml``, which explains each."""

    data: ConfigNode
    artifact: str | None
    backend: Backend
    seed: Seed
    run_folder: str


def prepare_audit(cfg: DictConfig, make_folder: Callable[[], str]) -> AuditSettings:
    """Check a composed configuration, its artifact and the optional packages, and start the backend that it names.

    Args:
        cfg: A configuration composed from ``configs/audit.yaml``.
        make_folder: Makes the run's folder, once the configuration is known to be right.

    Raises:
        InputError: When a package is missing, or naming the first key that is wrong, what it got and what is allowed.
    """
    settings = check_values("", resolved(cfg, run_folder="."), AuditSettings)
    check_packages("audit", {"cleanlab": "cleanlab", "scikit-learn": "sklearn"}, "audit")
    if settings.artifact:
        artifact.verify(Path(settings.artifact))
    start_backend(settings.backend, seed=settings.seed)
    check_target("data", settings.data, added_by_code={"seed"})
    return settings.model_copy(update={"run_folder": make_folder()})
