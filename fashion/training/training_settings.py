"""The configuration of a run: checked once, before anything is written, and with its backend started."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from omegaconf import DictConfig, read_write
from pydantic import Field, NonNegativeInt, PositiveInt

from fashion.backend import coordination, process_group
from fashion.backend.memory import keep_freed_memory
from fashion.backend.selection import Backend, Precision, start_backend
from fashion.config.nodes import ResolvedConfig, has_target
from fashion.config.schema import Keys, Seed, Share, check_target, check_values, resolved, unknown_key
from fashion.data.folds import check_fold
from fashion.errors import InputError
from fashion.extras import check_packages
from fashion.runs import resume_override
from fashion.training.auto_settings import applied, decide

# The groups whose choice is one _target_, and the arguments that code adds to what its yaml gives.
ADDED_BY_CODE = {
    "data": {"seed"},
    "augment": {"seed"},
    "model": {"input_shape", "classes", "pixels"},
    "optimizer": set(),
    "schedule": {"peak", "steps"},
}
GROUPS = (*ADDED_BY_CODE, "callbacks", "trainer", "sweep", "run_folder")


class TrainerSettings(Keys):
    """The ``trainer`` group: how to train, whatever is trained. ``configs/trainer`` explains each key."""

    backend: Backend
    epochs: NonNegativeInt
    batch_size: PositiveInt
    seed: Seed
    label_smoothing: Share
    class_weights: Literal["balanced"] | None
    flip_average: bool
    shift_average: bool
    linear_probe: bool
    frozen_batch_norm: bool
    frozen_through: str | None
    hardest_share: Annotated[float, Field(gt=0, lt=1)] | None
    hardest_from_epoch: Annotated[int, Field(ge=2)]  # the first reads all images, to have a loss of each
    hardest_to_epoch: PositiveInt | None
    precision: Precision
    jit: bool | Literal["auto"]
    fast_layers: bool
    distribution: Literal["single", "data_parallel"]
    deterministic: bool
    resume: str | None
    overwrite: bool


class Training(NamedTuple):
    """A run that can start: its configuration is valid, and Keras runs on its backend.

    Attributes:
        config: The whole configuration, as recorded with the run.
        trainer: Its ``trainer`` group.
        folder: Where the run writes.
        decided: Why ``auto`` became what is in the configuration; empty if it has no such key.
    """

    config: ResolvedConfig
    trainer: TrainerSettings
    folder: Path
    decided: str = ""


def prepare_training(cfg: DictConfig, make_folder: Callable[[], str] | None = None) -> Training:
    """Check a composed configuration, and start the backend that it names; nothing is written.

    Args:
        cfg: A configuration composed from ``configs/train.yaml``. What it leaves to the machine is filled in.
        make_folder: Makes the run's folder, once the configuration is known to be valid; None takes ``run_folder``.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    decision = decide(resolved(cfg, run_folder="."))
    if decision.values:
        with read_write(cfg):
            cfg.merge_with({"trainer": dict(decision.values)})
    trainer = start_training(resolved(cfg, run_folder="."))
    folder = Path(make_folder() if make_folder else cfg.run_folder)
    folder = Path(coordination.gather("run_folder", str(folder))[0])  # a default folder has the time in its name
    config = resolved(cfg, run_folder=folder)
    resume_override.check(config, folder)
    return Training(config, trainer, folder, decision.reason)


def start_training(config: ResolvedConfig) -> TrainerSettings:
    """Check a configuration and start its backend, which must run before the groups are checked: that imports Keras.

    Returns:
        The checked ``trainer`` group.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    trainer = check_trainer(config)
    keep_freed_memory()
    start_backend(
        trainer.backend,
        seed=trainer.seed,
        precision=trainer.precision,
        deterministic=trainer.deterministic,
        tensorflow_beside_jax=_has_callback(config, "keras.callbacks.TensorBoard"),
        processes=process_group.from_environment() if trainer.distribution == "data_parallel" else None,
    )
    check_groups(config)
    return trainer


def check_trainer(config: ResolvedConfig) -> TrainerSettings:
    """Check what can be checked without Keras: that every group is there, and the ``trainer`` group.

    Returns:
        The checked ``trainer`` group, without ``auto``.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    for key in config:
        if key not in GROUPS:
            raise unknown_key(key, GROUPS)
    for key in GROUPS:
        if key not in config:
            raise InputError(f"{key}: is missing; give it one of the choices in configs/{key}/")
    decided = applied(config, decide(config).values)
    trainer = check_values("trainer", decided["trainer"], TrainerSettings)
    if trainer.distribution == "data_parallel" and trainer.backend != "jax":
        raise InputError(
            f"trainer.distribution: got data_parallel on {trainer.backend}, expected it with trainer.backend=jax: "
            "keras.distribution is complete on JAX only"
        )
    if not trainer.epochs and not trainer.linear_probe:
        raise InputError("trainer.epochs: got 0, expected at least 1, or 0 with trainer.linear_probe=true")
    if trainer.linear_probe and trainer.distribution != "single":
        raise InputError(
            f"trainer.linear_probe: got true with trainer.distribution={trainer.distribution}, expected single"
        )
    if trainer.linear_probe:
        check_packages("trainer.linear_probe", {"scikit-learn": "sklearn"}, "transfer")
    if trainer.linear_probe and trainer.shift_average:
        raise InputError("trainer.shift_average: got true with trainer.linear_probe=true, expected one or the other")
    if trainer.hardest_share and has_target(config["augment"], "fashion.augment.mixup.Mixup"):
        raise InputError(
            f"trainer.hardest_share: got {trainer.hardest_share} with augment=mixup or cutmix, expected null: "
            "a mixed image has the labels of two, and no loss of its own"
        )
    last = trainer.hardest_to_epoch
    if last is not None and last < trainer.hardest_from_epoch:
        raise InputError(
            f"trainer.hardest_to_epoch: got {last}, expected null or at least trainer.hardest_from_epoch, "
            f"{trainer.hardest_from_epoch}"
        )
    constant = has_target(config["schedule"], "fashion.training.schedules.constant")
    if not constant and _has_callback(config, "keras.callbacks.ReduceLROnPlateau"):
        raise InputError(
            "callbacks: got keras.callbacks.ReduceLROnPlateau, which lowers a constant rate, expected another choice "
            "beside this schedule, such as callbacks=none; or schedule=constant"
        )
    return trainer


def check_groups(config: ResolvedConfig) -> None:
    """Check the other groups against the signatures of their targets, on either backend.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    for group, added in ADDED_BY_CODE.items():
        check_target(group, config[group], added)
    check_fold(config["data"].get("folds"), config["data"].get("fold"))
    for name, callback in (config["callbacks"] or {}).items():
        check_target(f"callbacks.{name}", callback)


def _has_callback(config: ResolvedConfig, target: str) -> bool:
    return any(has_target(node, target) for node in (config["callbacks"] or {}).values())
