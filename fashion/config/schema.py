"""What every key of a configuration may hold, checked before anything runs.

The types and ranges of a group's keys stand where the keys are used: in the signature of its ``_target_``. Keras's own
classes carry no types, so the keys that this project's files give them are listed here.
"""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import pydantic
from hydra.experimental.callback import Callback
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from fashion import backend
from fashion.errors import FashionError, fail

M = TypeVar("M", bound=pydantic.BaseModel)
Share = Annotated[float, Field(ge=0, lt=1)]


class Trainer(pydantic.BaseModel):
    """The ``trainer`` group: how to train, whatever is trained. Its meaning stands in ``configs/trainer``."""

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="forbid")

    backend: backend.Backend
    epochs: PositiveInt
    batch_size: PositiveInt
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    precision: backend.Precision
    jit: bool | Literal["auto"]
    fast_layers: bool
    distribution: Literal["single", "data_parallel"]
    deterministic: bool
    resume: str | None


class Group(NamedTuple):
    """A config group whose choice is one ``_target_``, and the arguments that code adds to it."""

    name: str
    added_by_code: frozenset[str] = frozenset()


GROUPS = (
    Group("data", frozenset({"seed"})),
    Group("augment", frozenset({"seed"})),
    Group("model"),
    Group("optimizer"),
)

TRAINING_KEYS = (*(group.name for group in GROUPS), "callbacks", "trainer", "run_folder")

_KERAS_ARGUMENTS: dict[str, Any] = {
    "learning_rate": PositiveFloat,
    "weight_decay": NonNegativeFloat | None,
    "momentum": Share,
    "nesterov": bool,
    "beta_1": Share,
    "beta_2": Share,
    "epsilon": PositiveFloat,
    "clipnorm": PositiveFloat | None,
    "global_clipnorm": PositiveFloat | None,
    "use_ema": bool,
    "ema_momentum": Share,
    "monitor": Literal["loss", "accuracy", "val_loss", "val_accuracy"],
    "mode": Literal["auto", "min", "max"],
    "patience": NonNegativeInt,
    "min_delta": NonNegativeFloat,
    "cooldown": NonNegativeInt,
    "restore_best_weights": bool,
    "factor": Annotated[float, Field(gt=0, lt=1)],
    "min_lr": NonNegativeFloat,
    "log_dir": str,
    "write_graph": bool,
    "histogram_freq": NonNegativeInt,
}


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain dictionaries, interpolations filled in.

    Raises:
        FashionError: When an interpolation or a mandatory value is missing.
    """
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise FashionError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from None


def check_trainer(config: Mapping[str, Any]) -> Trainer:
    """Check the ``trainer`` group; Keras need not be imported.

    Raises:
        FashionError: Naming the first key that is wrong, what it got and what is allowed.
    """
    return _check("trainer", config["trainer"], Trainer)


def check_targets(config: Mapping[str, Any], groups: Iterable[Group] = GROUPS) -> None:
    """Check every ``_target_`` of a training configuration against the signature it names.

    This imports the targets, so the Keras backend must have been chosen.

    Args:
        config: A resolved configuration.
        groups: The groups to check; ``callbacks``, where present, is checked callback by callback.

    Raises:
        FashionError: Naming the first key that is wrong, what it got and what is allowed.
    """
    for group in groups:
        _check_target(group.name, config[group.name], group.added_by_code)
    for name, callback in (config.get("callbacks") or {}).items():
        _check_target(f"callbacks.{name}", callback, frozenset())


def unknown_key(key: str, allowed: Iterable[str], parent: str = "") -> FashionError:
    """Return the error for a key that does not exist, with the nearest one that does."""
    names = sorted(str(name) for name in allowed if name != "_target_")
    close = difflib.get_close_matches(key.rpartition(".")[2], names, n=1)
    hint = f"; did you mean {f'{parent}.' if parent else ''}{close[0]}?" if close else ""
    return FashionError(f"{key}: there is no such key; {parent or 'the configuration'} has {', '.join(names)}{hint}")


def check_training(config: Mapping[str, Any]) -> Trainer:
    """Check a whole training configuration; this starts the Keras backend that it names.

    Returns:
        The checked ``trainer`` group.

    Raises:
        FashionError: Naming the first key that is wrong, what it got and what is allowed.
    """
    for key in config:
        if key not in TRAINING_KEYS:
            raise unknown_key(key, TRAINING_KEYS)
    trainer = check_trainer(config)
    if trainer.distribution == "data_parallel" and trainer.backend != "jax":
        raise FashionError(
            f"trainer.distribution: got data_parallel on {trainer.backend}, expected it with trainer.backend=jax: "
            "keras.distribution is complete on JAX only"
        )
    targets = [node.get("_target_") for node in (config.get("callbacks") or {}).values() if isinstance(node, dict)]
    backend.select(
        trainer.backend,
        seed=trainer.seed,
        precision=trainer.precision,
        deterministic=trainer.deterministic,
        tensorflow_beside_jax="keras.callbacks.TensorBoard" in targets,
    )
    check_targets(config)
    return trainer


class CheckTraining(Callback):
    """Hydra's hook before a run: refuse a wrong configuration while there is no run folder yet."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check, or print the error and exit: Hydra turns exceptions of its callbacks into warnings."""
        task = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        task.run_folder = "."  # not made yet
        try:
            check_training(resolved(task))
        except FashionError as error:
            fail(error)


def _check_target(key: str, node: Any, added_by_code: frozenset[str]) -> None:
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        raise FashionError(f"{key}: got {node!r}, expected one of the choices in configs/{key.partition('.')[0]}/")
    try:
        target = get_object(node["_target_"])
    except (ImportError, ValueError, AttributeError) as error:
        raise FashionError(f"{key}._target_: {node['_target_']} cannot be imported: {error}") from None
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    _check(key, arguments, _signature_model(target, added_by_code))


def _signature_model(target: Any, added_by_code: frozenset[str]) -> type[pydantic.BaseModel]:
    """Return a model of what a function or class takes by keyword."""
    fields: dict[str, Any] = {}
    open_ended = False
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.name not in added_by_code:
            declared = parameter.annotation
            if declared is inspect.Parameter.empty:
                declared = _KERAS_ARGUMENTS.get(parameter.name, Any)
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[parameter.name] = (declared, default)
    if open_ended:  # Keras passes these on to a base class
        fields |= {name: (kind, None) for name, kind in _KERAS_ARGUMENTS.items() if name not in fields}
    settings = pydantic.ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)
    return pydantic.create_model(target.__name__, __config__=settings, **fields)


def _check(key: str, values: Any, model: type[M]) -> M:
    if not isinstance(values, dict):
        raise FashionError(f"{key}: got {values!r}, expected the keys {', '.join(model.model_fields)}")
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise _first_problem(key, error, model) from None


def _first_problem(key: str, error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> FashionError:
    problems = error.errors()
    first = problems[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return unknown_key(f"{key}.{name}", model.model_fields, parent=key)
    if first["type"] == "missing":
        return FashionError(f"{key}.{name}: is not set; give it a value")
    # A union (a number or null) reports one problem for each member: tell them all.
    same_key = [problem["msg"] for problem in problems if str(problem["loc"][0]) == name]
    expected = " or ".join(dict.fromkeys(message.removeprefix("Input should be ") for message in same_key))
    return FashionError(f"{key}.{name}: got {first['input']!r}, expected {expected}")

