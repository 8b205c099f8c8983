"""The configuration of ``scripts/export.py``."""

from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from fashion import artifact
from fashion.backend.selection import start_backend
from fashion.config.nodes import ConfigNode
from fashion.config.schema import Keys, check_target, check_values, resolved
from fashion.errors import InputError
from fashion.export.formats import FORMATS, FormatName
from fashion.exported import Quantise


class ExportSettings(Keys):
    """The keys of ``configs/export.yaml``, which explains each."""

    data: ConfigNode
    artifact: str
    format: FormatName
    quantise: Quantise


def prepare_export(cfg: DictConfig, make_folder: Callable[[], str]) -> ExportSettings:
    """Check a composed configuration, its artifact and the optional packages, and start TensorFlow.

    Args:
        cfg: A configuration composed from ``configs/export.yaml``.
        make_folder: Not used: an export leaves no run folder behind.

    Raises:
        InputError: When a package is missing, or naming the first key that is wrong, what it got and what is allowed.
    """
    settings = check_values("", resolved(cfg), ExportSettings)
    possible = FORMATS[settings.format].quantise
    if settings.quantise not in possible:
        raise InputError(
            f"quantise: got {settings.quantise}, expected {' or '.join(possible)} for format={settings.format}"
        )
    artifact.verify(Path(settings.artifact))
    FORMATS[settings.format].check_packages()
    start_backend("tensorflow")  # what the converters read is a function of TensorFlow
    check_target("data", settings.data, added_by_code={"seed"})
    return settings
