"""The formats that a model is exported to: the names of their files, and the modules that write and run them."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

from fashion.arrays import Images
from fashion.card import Card
from fashion.export import npm_packages
from fashion.export.npm_packages import NpmPackage
from fashion.exported import Quantise, export_file
from fashion.extras import check_packages
from fashion.inference.engine import Engine

if TYPE_CHECKING:  # it imports TensorFlow
    from fashion.export.whole_model import WholeModel

FormatName = Literal["onnx", "web", "saved_model", "litert"]


class ExportSource(NamedTuple):
    """What a format is made from.

    Attributes:
        model: The model with its calibration and abstention.
        quantise: The type of the weights.
        images: Training images, from which the ranges of 8-bit numbers are measured.
        card: The model's card.
    """

    model: "WholeModel"
    quantise: Quantise
    images: Images
    card: Card


class FormatModule(Protocol):
    """A module of this package for one format; it imports TensorFlow."""

    def write(self, source: ExportSource, path: Path) -> None:
        """Write a model to a file."""

    def open_engine(self, path: Path) -> Engine:
        """Return what runs a written model, to measure it."""


class ExportFormat(NamedTuple):
    """A format.

    Attributes:
        module: The module that writes and runs it, in this package.
        suffix: Of the exported file, or the folder.
        quantise: The types of weights that it can have.
        packages: Name on PyPI of each package that it needs, to its module.
        npm: The packages of npm that become part of it.
        is_folder: Whether it is a folder.
    """

    module: str
    suffix: str
    quantise: tuple[Quantise, ...]
    packages: dict[str, str]
    npm: tuple[NpmPackage, ...] = ()
    is_folder: bool = False

    def file(self, model: Path, quantise: Quantise) -> Path:
        """Return where the exported form of a ``.keras`` file is."""
        return export_file(model, self.suffix, quantise)

    def check_packages(self) -> None:
        """Check that the optional packages are installed, and fetch those of npm.

        Raises:
            InputError: When one is missing.
        """
        check_packages("export", self.packages, "export")
        for each in self.npm:
            npm_packages.fetch(each)

    def load(self) -> FormatModule:
        """Import the module, after the backend was started."""
        return cast(FormatModule, importlib.import_module(f"fashion.export.{self.module}"))


_ONNX = {"onnx": "onnx", "tf2onnx": "tf2onnx", "onnxruntime": "onnxruntime"}
FORMATS: dict[FormatName, ExportFormat] = {
    "onnx": ExportFormat("onnx_format", ".onnx", ("none", "float16", "int8"), _ONNX),
    "web": ExportFormat(
        "web_format",
        ".html",
        ("none", "float16", "int8"),
        _ONNX,
        (npm_packages.ONNX_RUNTIME_WEB, npm_packages.OPENCV),
    ),
    "saved_model": ExportFormat("saved_model_format", ".saved_model", ("none",), {}, is_folder=True),
    "litert": ExportFormat("litert_format", ".tflite", ("none", "float16"), {"ai-edge-litert": "ai_edge_litert"}),
}
