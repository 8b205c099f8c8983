"""What each command's configuration must be, checked before anything is written."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, PositiveInt

from fashion import artifact
from fashion.audit.label_errors import check_packages
from fashion.backend.memory import keep_freed_memory
from fashion.backend.selection import Backend, Precision, start_backend
from fashion.cli import fail
from fashion.config import resume_override
from fashion.config.schema import Share, check_target, check_values, resolved, unknown_key
from fashion.errors import FashionError, InputError
from fashion.runs.folder import RunFolder
from fashion.server.settings import Settings

# The groups whose choice is one _target_, and the arguments that code adds to what its yaml gives.
ADDED_BY_CODE = {
    "data": {"seed"},
    "augment": {"seed"},
    "model": set(),
    "optimizer": set(),
    "schedule": {"peak", "steps"},
}

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Checked(pydantic.BaseModel):
    """Keys with exact types: no text for a number, no unknown name."""

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Trainer(Checked):
    """The ``trainer`` group: how to train, whatever is trained. Its meaning stands in ``configs/trainer``."""

    backend: Backend
    epochs: PositiveInt
    batch_size: PositiveInt
    seed: Seed
    label_smoothing: Share
    flip_average: bool
    precision: Precision
    jit: bool | Literal["auto"]
    fast_layers: bool
    distribution: Literal["single", "data_parallel"]
    deterministic: bool
    resume: str | None


class Exploration(Checked):
    """The keys of ``configs/explore.yaml`` that are not a group."""

    backend: Backend
    seed: Seed
    audit: bool
    artifact: str | None
    run_folder: str


class Evaluation(Checked):
    """The keys of ``configs/evaluate.yaml`` that are not a group."""

    artifact: str
    backend: Backend
    compare: str | None
    calibrate: bool
    outliers: bool
    photos: str | None
    robustness: bool
    run_folder: str


class Serving(Checked):
    """The keys of ``configs/serve.yaml``, the ``server`` group among them."""

    artifact: str
    backend: Backend
    server: Settings


C = TypeVar("C", bound=Checked)


def check_training(config: Mapping[str, Any], *, starts_backend: bool = True) -> Trainer:
    """Check a whole training configuration; this starts the Keras backend that it names.

    Args:
        config: The resolved configuration.
        starts_backend: False checks it for another process, on whichever backend Keras runs in this one.

    Returns:
        The checked ``trainer`` group.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    allowed = (*ADDED_BY_CODE, "callbacks", "trainer", "sweep", "run_folder")
    for key in config:
        if key not in allowed:
            raise unknown_key(key, allowed)
    for key in allowed:
        if key not in config:
            raise InputError(f"{key}: is missing; give it one of the choices in configs/{key}/")
    trainer = check_values("trainer", config["trainer"], Trainer)
    if trainer.distribution == "data_parallel" and trainer.backend != "jax":
        raise InputError(
            f"trainer.distribution: got data_parallel on {trainer.backend}, expected it with trainer.backend=jax: "
            "keras.distribution is complete on JAX only"
        )
    callbacks = config["callbacks"] or {}
    if "schedules.constant" not in str(config["schedule"]) and "ReduceLROnPlateau" in str(callbacks):
        raise InputError(
            "callbacks: got keras.callbacks.ReduceLROnPlateau, which lowers a constant rate, expected another choice "
            "beside this schedule, such as callbacks=none; or schedule=constant"
        )
    if starts_backend:
        keep_freed_memory()
        start_backend(
            trainer.backend,
            seed=trainer.seed,
            precision=trainer.precision,
            deterministic=trainer.deterministic,
            tensorflow_beside_jax="keras.callbacks.TensorBoard" in str(callbacks),
        )
    _check_groups(config, ADDED_BY_CODE)
    for name, callback in callbacks.items():
        check_target(f"callbacks.{name}", callback)
    return trainer


def check_exploration(config: Mapping[str, Any]) -> Exploration:
    """Check the configuration of ``explore`` and the artifact; this starts the Keras backend that it names.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    settings = _check_plain_keys(config, Exploration)
    if settings.audit:
        check_packages()
    if settings.artifact:
        artifact.verify(Path(settings.artifact))
    start_backend(settings.backend, seed=settings.seed)
    _check_groups(config, ("data", "augment"))
    return settings


def check_evaluation(config: Mapping[str, Any]) -> Evaluation:
    """Check the configuration of ``evaluate`` and the artifacts; this starts the Keras backend that it names.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    settings = _check_plain_keys(config, Evaluation)
    for path in filter(None, (settings.artifact, settings.compare)):
        artifact.verify(Path(path))
    keep_freed_memory()  # robustness predicts 750,000 images
    start_backend(settings.backend)
    _check_groups(config, ("data",))
    return settings


def check_serving(config: Mapping[str, Any]) -> Serving:
    """Check the configuration of ``serve``; no backend is started, since the workers are forked first.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    server = check_values("server", config.get("server"), Settings)
    return check_values("", {**config, "server": server}, Serving)


CHECKS: dict[str, Callable[[Mapping[str, Any]], Checked]] = {
    "train": check_training,
    "explore": check_exploration,
    "evaluate": check_evaluation,
}


class CheckBeforeRun(Callback):
    """Hydra's hook before a run: refuse a wrong configuration while there is no run folder yet.

    Args:
        command: Whose configuration it is.
    """

    def __init__(self, command: str) -> None:
        self.check = CHECKS[command]

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check, or print the error and exit: Hydra turns exceptions of its callbacks into warnings."""
        try:
            self._check(config)
        except FashionError as error:
            fail(error)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the sweep's folder; the jobs' own configurations are not composed yet."""
        try:
            _refuse_empty("hydra.sweep.dir", config.hydra.sweep.dir)
        except FashionError as error:
            fail(error)

    def _check(self, config: DictConfig) -> None:
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        task.run_folder = "."  # the real one is made when it is first asked for
        self.check(resolved(task))
        folder = Path(_refuse_empty("hydra.run.dir", config.hydra.run.dir))
        if self.check is check_training:
            task.run_folder = str(folder.absolute())
            resume_override.check(resolved(task), folder)
        RunFolder(folder).refuse_if_busy()  # before Hydra writes there


def _refuse_empty(key: str, folder: str) -> str:
    if not folder.strip():
        raise InputError(f"{key}: got nothing, expected a folder")
    return folder


def _check_plain_keys(config: Mapping[str, Any], model: type[C]) -> C:
    return check_values("", {key: value for key, value in config.items() if key not in ADDED_BY_CODE}, model)


def _check_groups(config: Mapping[str, Any], groups: Any) -> None:
    for group in groups:
        check_target(group, config.get(group), ADDED_BY_CODE[group])
