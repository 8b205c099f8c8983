"""Evaluating a model on its own data, and auditing it: what a command line leaves out of it is the artifact's."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from fashion.card import Card, model_file, read_card
from fashion.config.arguments import MULTIRUN_FLAG, is_flag, key_of
from fashion.config.nodes import ConfigNode
from fashion.config.override_text import unquote_path
from fashion.config.renames import upgrade_config
from fashion.data.dataset import Dataset
from fashion.errors import InputError
from fashion.paths import PROJECT, default_model
from fashion.preprocessing.input_spec import InputSpec
from fashion.runs.folder import RunFolder

log = logging.getLogger(__name__)

CHOICE = "of_the_artifact"  # the name of its data configuration beside those in configs/data
HELP_FLAGS = {"--help", "--hydra-help", "--version", "--info"}


def command_line(arguments: list[str]) -> list[str]:
    """Add the data of the artifact to a command line that does not choose a ``data``.

    Keys such as ``data.limit`` then override that configuration.

    Args:
        arguments: The overrides, then the flags. In a multirun over several artifacts, they share the first one's data.

    Raises:
        InputError: When the artifact or its card is missing or damaged.
    """
    if any(key_of(argument) == "data" for argument in arguments) or HELP_FLAGS & set(map(key_of, arguments)):
        return arguments
    named = [argument.partition("=")[2] for argument in arguments if key_of(argument) == "artifact"]
    named = [] if named[-1:] == ["null"] else named
    if named and MULTIRUN_FLAG in arguments:
        named[-1] = named[-1].partition(",")[0]
    path = Path(unquote_path(named[-1])).expanduser() if named else default_model()
    ConfigStore.instance().store(name=CHOICE, group="data", node=own_data(path))
    overrides = [argument for argument in arguments if not is_flag(argument)]
    return [*overrides, f"data={CHOICE}", *(argument for argument in arguments if is_flag(argument))]


def own_data(path: Path) -> ConfigNode:
    """Return the data configuration of an artifact, with all images instead of a limited number.

    A card lacks what depends on the machine, such as folders. This is taken from the configuration that the run has
    saved, and where the model was copied without it, from the choice in ``configs/data``.

    Args:
        path: A ``.keras`` file with its card beside it, or a run's folder.

    Raises:
        InputError: When the model or its card is missing or damaged.
    """
    file = model_file(path) if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file}: there is no such model file; train one (make train), or name another")
    card = read_card(file.with_suffix(".json"))
    of_card: dict[str, Any] = upgrade_config(card.config)["data"]
    node = _defaults(of_card["_target_"])
    try:
        saved = upgrade_config(RunFolder(file.parent).read_config()).get("data")
    except InputError:
        saved = None
    if saved and saved.get("_target_") == of_card["_target_"]:
        node |= saved
    return node | of_card | ({"limit": None} if "limit" in of_card else {})


def _defaults(target: str) -> ConfigNode:
    """Return the choice of ``data`` that has this target; nothing where it is the user's own."""
    for file in sorted((PROJECT / "configs" / "data").glob("*.yaml")):
        node: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        if node.get("_target_") == target:
            return dict(node)
    return {}


def fits(data: Dataset, card: Card) -> bool:
    """Return whether a model takes the images of a data set and has its classes."""
    return list(data.classes) == card.classes and data.input == card.input


def warn_if_redrawn(data: Dataset, card: Card, config: Mapping[str, Any] | None = None) -> None:
    """Warn if test or validation images may be images that a model was trained on.

    Adding, removing or moving a few images draws these splits anew, and so does another share of test images.

    Args:
        data: The data to measure on.
        card: The model's.
        config: The configuration of ``data``, where the model's own may have been changed on the command line.
    """
    share = upgrade_config(card.config)["data"].get("test_fraction")
    other_share = config is not None and config.get("test_fraction") != share and "test" in data.drawn
    changed = data.digests != card.data.digests and (data.drawn or data.name == card.data.name)
    if changed or other_share:
        log.warning(
            "%s is not divided as when %s was trained: where it is a later version of the same data, some test and "
            "validation images are images that the model was trained on, and its figures on them are too optimistic; "
            "train again, or keep a test split of your own apart",
            data.title,
            card.file_name,
        )


def refuse_other_classes(data: Dataset, card: Card) -> None:
    """Check that a model can be measured on a data set.

    Raises:
        InputError: When the data has other classes, or images of another size or preprocessing.
    """
    if list(data.classes) != card.classes:
        raise InputError(
            f"data: got {_named(data.classes)}, expected those of the model, in their order: {_named(card.classes)}; "
            "leave out data=... to use the model's own data"
        )
    if data.input != card.input:
        raise InputError(
            f"data: got {_described(data.input)}, the model takes {_described(card.input)}; "
            "set data.image_size, data.color_mode and data.fit accordingly"
        )


def _named(classes: list[str] | tuple[str, ...], shown: int = 5) -> str:
    names = ", ".join(classes[:shown]) + (", ..." if len(classes) > shown else "")
    return f"{len(classes)} classes ({names})"


def _described(spec: InputSpec) -> str:
    colour = "in colour" if spec.channels == 3 else "in grey"
    way = spec.fit if spec.preprocessing == "resize" else spec.preprocessing
    return f"images of {spec.height} x {spec.width} {colour} ({way})"
