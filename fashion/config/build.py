"""Make the object that a part of the configuration describes."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from fashion.config.nodes import ConfigNode
from fashion.errors import FashionError, InputError


def build(node: ConfigNode, **added: Any) -> Any:
    """Call a node's ``_target_`` with its other keys and the arguments that code adds.

    Raises:
        InputError: When the target refuses its arguments.
    """
    try:
        return instantiate(node, _convert_="all", **added)
    except InstantiationException as error:
        if isinstance(error.__cause__, FashionError):
            raise error.__cause__ from None
        raise InputError(f"{node['_target_']}: {error.__cause__ or error}") from error
