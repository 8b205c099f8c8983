"""The configuration of ``scripts/evaluate.py``."""

import filecmp
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from fashion import artifact
from fashion.backend.memory import keep_freed_memory
from fashion.backend.selection import Backend, start_backend
from fashion.card import model_file
from fashion.config.nodes import ConfigNode
from fashion.config.schema import Keys, check_target, check_values, resolved
from fashion.errors import InputError


class EvaluationSettings(Keys):
    """The keys of ``configs/evaluate.yaml``, which explains each."""

    data: ConfigNode
    artifact: str
    backend: Backend
    compare: str | None
    calibrate: bool
    outliers: bool
    photos: str | None
    robustness: bool
    run_folder: str


def prepare_evaluation(cfg: DictConfig, make_folder: Callable[[], str]) -> EvaluationSettings:
    """Check a composed configuration and its artifacts, and start the backend that it names; nothing is written.

    Args:
        cfg: A configuration composed from ``configs/evaluate.yaml``.
        make_folder: Makes the run's folder, once the configuration is known to be right.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    settings = check_values("", resolved(cfg, run_folder="."), EvaluationSettings)
    if settings.photos is not None and not settings.outliers:
        raise InputError(
            f"photos: got {settings.photos} with outliers=false, expected outliers=true, which measures them"
        )
    for path in filter(None, (settings.artifact, settings.compare)):
        artifact.verify(Path(path))
    keep_freed_memory()  # robustness predicts 750,000 images
    start_backend(settings.backend)
    check_target("data", settings.data, added_by_code={"seed"})
    settings = settings.model_copy(update={"run_folder": make_folder()})
    if settings.calibrate:
        _refuse_another_model(Path(settings.run_folder), artifact.verify(Path(settings.artifact))[0])
    return settings


def _refuse_another_model(folder: Path, model: Path) -> None:
    """Refuse to write the copy of a model over another one.

    Raises:
        InputError: When the folder holds another model.
    """
    present = model_file(folder)
    if present.exists() and not filecmp.cmp(present, model, shallow=False):
        raise InputError(
            f"{folder}: there is another model, which calibrate=true would replace; choose another hydra.run.dir"
        )
