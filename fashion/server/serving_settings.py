"""The configuration of ``scripts/serve.py``: from its files, the environment and the command line."""

import os
import re
import sys
from collections.abc import Callable
from typing import Any, get_args

import pydantic
from omegaconf import DictConfig, OmegaConf

from fashion.backend.selection import Backend
from fashion.config.arguments import key_of
from fashion.config.override_text import quote_path, unquote_path
from fashion.config.schema import Keys, check_values, resolved
from fashion.errors import FashionError, InputError
from fashion.server import environment
from fashion.server.settings import Settings

SERVE = "serve"  # the argument with which SageMaker starts a container
RESOLVER = "environment"
PLATFORM = "server.platform"
# Both platforms reach the container from outside, by default on this port; anything else that sets one of them wins.
PLATFORM_DEFAULTS = ["server.host=0.0.0.0", "server.port=8080"]


class ServingSettings(Keys):
    """The keys of ``configs/serve.yaml``, the ``server`` group among them."""

    artifact: str
    backend: Backend
    server: Settings


def add_environment(arguments: list[str]) -> list[str]:
    """Return the command line with the settings of environment variables before its own, which therefore win.

    A variable becomes a reference, ``server.port=${environment:PORT}``, so that no secret is part of the command line
    or of the configuration that ``--cfg job`` prints.

    Args:
        arguments: The command line; it may begin with the word ``serve``.

    Raises:
        InputError: Naming the first variable that is wrong, what it got and what is allowed.
    """
    OmegaConf.register_new_resolver(RESOLVER, _value, replace=True)
    arguments = arguments[1:] if arguments[:1] == [SERVE] else arguments
    platform = _platform(arguments)
    overrides = [_override(variable) for variable in environment.variables(platform)]
    environment.first_password()
    return [*(PLATFORM_DEFAULTS if platform else []), *overrides, *arguments]


def _platform(arguments: list[str]) -> str | None:
    """Return the platform that the command line names, or the environment; ``null`` is none."""
    named = [unquote_path(argument.partition("=")[2]) for argument in arguments if key_of(argument) == PLATFORM]
    platform = named[-1] if named else os.environ.get(environment.variable_of(PLATFORM), "null")
    return None if platform == "null" else platform


def prepare_serving(cfg: DictConfig, make_folder: Callable[[], str]) -> ServingSettings:
    """Check a composed configuration. No backend is started, since workers are forked first, and there is no folder.

    Raises:
        InputError: Naming the first key that is wrong, what it got and what is allowed.
    """
    config = resolved(cfg)
    server = check_values("server", config.get("server"), Settings)
    return check_values("", {**config, "server": server}, ServingSettings)


def name_variables(error: FashionError) -> FashionError:
    """Say in an error about a key which variable has set it, unless an override has."""
    effective = {key_of(argument): argument for argument in sys.argv[1:]}  # Hydra's own list has the values filled in
    found = {key: re.search(rf"\$\{{{RESOLVER}:(\w+)\}}", override) for key, override in effective.items()}
    named = [
        f"{key} is set by {reference[1]}"
        for key, reference in found.items()
        if reference and (key in str(error) or str(error).startswith(str(_value(reference[1]))))
    ]
    return InputError(f"{error}; {', '.join(named)}") if named else error


def _override(variable: str) -> str:
    key, value = environment.setting_of(variable), _value(variable)
    if isinstance(value, list):  # OmegaConf cannot resolve a reference to one in place
        return f"{key}=[{','.join(map(quote_path, value))}]"
    return f"{key}=${{{RESOLVER}:{variable}}}"


def _value(variable: str) -> Any:
    """Return what a variable sets its key to, in the key's type: ``null`` is None, and commas separate a list.

    Raises:
        InputError: If it is of another type, or not allowed.
    """
    text = environment.text_of(variable)
    group, _, name = environment.setting_of(variable).rpartition(".")
    field = (Settings if group else ServingSettings).model_fields[name]
    value: object = text
    if text == "null" and type(None) in get_args(field.annotation):
        value = None
    elif field.annotation == list[str]:
        value = [part.strip() for part in text.split(",")]
    model = pydantic.create_model("Variable", **{variable: (field.annotation, field)})  # type: ignore[call-overload]
    return getattr(check_values("", {variable: value}, model), variable)
