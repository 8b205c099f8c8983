"""The formats that a model is exported to: the names of their files, and the modules that write and run them."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, cast

from fashion.arrays import Images
from fashion.errors import InputError
from fashion.exported import Quantise, onnx_file
from fashion.inference.engine import Engine

FormatName = Literal["onnx"]


class FormatModule(Protocol):
    """A module of this package for one format; it imports TensorFlow."""

    def write(self, compute: Callable[..., object], path: Path, quantise: Quantise, images: Images) -> None:
        """Write a model.

        Args:
            compute: As ``whole_model`` returned it.
            path: Where to.
            quantise: The type of the weights.
            images: Training images, from which the ranges of 8-bit numbers are measured.
        """

    def open_engine(self, path: Path) -> Engine:
        """Return what runs a written model, to measure it."""


class ExportFormat(NamedTuple):
    """A format.

    Attributes:
        module: The module that writes and runs it, in this package.
        file: From the ``.keras`` file and the type of the weights to the exported file.
        quantise: The types of weights that it can have.
        packages: Import name of each package that it needs, to its extra.
    """

    module: str
    file: Callable[[Path, Quantise], Path]
    quantise: tuple[Quantise, ...]
    packages: dict[str, str]

    def check_packages(self) -> None:
        """Check that the optional packages are installed.

        Raises:
            InputError: When one is missing.
        """
        for package, extra in self.packages.items():
            if importlib.util.find_spec(package) is None:
                raise InputError(
                    f"export: needs {package}, which is not installed; "
                    f"install it with .venv/bin/python scripts/setup_venv.py --extra {extra}"
                )

    def load(self) -> FormatModule:
        """Import the module, after the backend was started."""
        return cast(FormatModule, importlib.import_module(f"fashion.export.{self.module}"))


FORMATS: dict[FormatName, ExportFormat] = {
    "onnx": ExportFormat(
        "onnx_format",
        onnx_file,
        ("none", "float16", "int8"),
        {"onnx": "export", "tf2onnx": "export", "onnxruntime": "export"},
    ),
}
