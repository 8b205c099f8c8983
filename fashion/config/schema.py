"""What the keys of a configuration may be.

The types and ranges of a group's keys are declared where the keys are used: in the signature of its ``_target_``.
Keras's own classes carry no types, so the keys that this project's files give them are listed here.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from fashion.config.nodes import ResolvedConfig
from fashion.config.renames import RENAMED
from fashion.errors import InputError

M = TypeVar("M", bound=pydantic.BaseModel)
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

KERAS_ARGUMENTS: dict[str, Any] = {
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


class Keys(pydantic.BaseModel):
    """Keys with exact types: no text for a number, no unknown name."""

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def resolved(cfg: DictConfig, run_folder: object = None) -> ResolvedConfig:
    """Return a configuration as plain dictionaries, interpolations filled in.

    Args:
        cfg: As Hydra composed it.
        run_folder: Replaces ``run_folder``, on which other keys depend; None leaves it.

    Raises:
        InputError: When an interpolation or a mandatory value is missing.
    """
    if run_folder is not None:
        cfg = cfg.copy()
        cfg.run_folder = str(run_folder)
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        if isinstance(error, MissingMandatoryValue):
            raise InputError(f"{error.full_key}: is not set; add {error.full_key}=VALUE") from None
        raise InputError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from None


def unknown_key(key: str, allowed: Iterable[str], parent: str = "") -> InputError:
    """Return the error for a key that does not exist, with its new name or the most similar key."""
    names = sorted(str(name) for name in allowed if name != "_target_")
    suggestion = _suggestion(key, names, parent)
    hint = f"; did you mean {suggestion}?" if suggestion else ""
    if parent == "hydra.launcher":
        hint = f"{hint}; choose the launcher that has it, as in hydra/launcher=joblib"
    known = ", ".join(names) or "none"
    return InputError(f"{key}: there is no such key; {parent or 'the configuration'} has {known}{hint}")


def _suggestion(key: str, names: list[str], parent: str) -> str | None:
    renamed = RENAMED.get(key, "")
    if renamed.startswith("scripts/") or renamed.rpartition(".")[2] in names:
        return renamed
    close = difflib.get_close_matches(key.rpartition(".")[2], names, n=1)
    return f"{parent}.{close[0]}".lstrip(".") if close else None


def check_target(key: str, node: Any, added_by_code: Collection[str] = ()) -> None:
    """Check a node's values against the signature of its ``_target_``, which is imported for it.

    Args:
        key: The node's key in the configuration.
        node: ``_target_`` and its keyword arguments.
        added_by_code: Arguments that are not set by configuration.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        raise InputError(f"{key}: got {node!r}, expected one of the choices in configs/{key.partition('.')[0]}/")
    try:
        target = get_object(node["_target_"])
    except (ImportError, ValueError, AttributeError) as error:
        raise InputError(f"{key}._target_: {node['_target_']} cannot be imported: {error}") from None
    arguments = {name: value for name, value in node.items() if name not in ("_target_", "_recursive_")}
    check_values(key, arguments, _signature_model(target, added_by_code))
    for name, value in arguments.items():
        if isinstance(value, dict) and "_target_" in value:
            check_target(f"{key}.{name}", value, added_by_code)


def _signature_model(target: Callable[..., Any], added_by_code: Collection[str]) -> type[pydantic.BaseModel]:
    """Return a model of the keyword arguments of a function or class."""
    fields: dict[str, Any] = {}
    open_ended = False
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.name not in added_by_code:
            declared = parameter.annotation
            if declared is inspect.Parameter.empty:
                declared = KERAS_ARGUMENTS.get(parameter.name, Any)
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[parameter.name] = (declared, default)
    if open_ended:  # Keras passes these on to a base class
        fields |= {name: (kind, None) for name, kind in KERAS_ARGUMENTS.items() if name not in fields}
    settings = pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
    return pydantic.create_model(target.__name__, __config__=settings, **fields)


def check_values(key: str, values: Any, model: type[M]) -> M:
    """Check plain values against a model.

    Args:
        key: The values' key in the configuration; empty for the whole.
        values: What was given.
        model: What is allowed.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    if not isinstance(values, dict):
        raise InputError(f"{key}: got {values!r}, expected the keys {', '.join(model.model_fields)}")
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise _first_problem(key, error, model) from None


def _first_problem(key: str, error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> InputError:
    problems = error.errors()
    first = problems[0]
    name = str(first["loc"][0])
    full_name = f"{key}.{name}" if key else name
    if first["type"] == "extra_forbidden":
        return unknown_key(full_name, model.model_fields, parent=key)
    if first["type"] == "missing":
        return InputError(f"{full_name}: is not set; add {full_name}=VALUE")
    # A union (a number or null) reports one problem for each member: report them all.
    same_key = [problem["msg"] for problem in problems if str(problem["loc"][0]) == name]
    expected = " or ".join(dict.fromkeys(re.sub(r"^\w+ should (be|have) ", "", message) for message in same_key))
    return InputError(f"{full_name}: got {first['input']!r}, expected {expected}")
