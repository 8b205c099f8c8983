"""Errors of Hydra and OmegaConf, rephrased in one sentence."""

import sys

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from fashion.config.arguments import is_flag
from fashion.config.renames import RENAMED
from fashion.config.schema import unknown_key


def one_sentence(error: Exception) -> str:
    """Return what is wrong with the configuration according to an exception of Hydra or OmegaConf."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        renamed = RENAMED.get(f"{group}={choice}", "").rpartition("=")[2]
        hint = f"; did you mean {renamed}?" if renamed else ""
        return f"{group}: got {choice}, expected one of {', '.join(error.options)}{hint}"
    if isinstance(error, OverrideParseException):
        lines = [line for line in error.message.splitlines() if line.strip("^ ")]
        reason = next((line for line in lines if not line.startswith(("Error parsing", "See "))), "see --hydra-help")
        if reason.startswith("LexerNoViableAlt"):
            reason = "its value has a character that must be quoted for Hydra as well as for the shell: \"key='value'\""
            if "=~" in error.override:
                reason = "the shell does not expand ~ here; write the folder's full path"
        return f"{error.override}: cannot be read as key=value ({reason.strip()})"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and OmegaConf.is_dict(cause.parent_node):
        key = str(cause.full_key)
        return str(unknown_key(key, (name for name in cause.parent_node if name != "hydra"), key.rpartition(".")[0]))
    if "Config group override must be" in str(error):  # Hydra does not say which
        overrides = (argument.partition("=") for argument in sys.argv[1:] if not is_flag(argument))
        group = next((key for key, _, value in overrides if "." not in key and "null" in value.split(",")), "GROUP")
        return f"{group}: got null, expected one of the choices in configs/{group}/"
    return str(error)
