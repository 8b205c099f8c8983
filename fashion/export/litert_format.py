"""``format=litert``: one file for LiteRT, formerly TensorFlow Lite, on phones and small devices."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from fashion.arrays import Pixels
from fashion.backend.quiet import quiet_standard_error
from fashion.data.image_rows import ImageArray
from fashion.export.formats import ExportSource
from fashion.inference.onnx_engine import INPUT, in_batches
from fashion.uncertainty.posthoc import Prediction


class LiteRtEngine:
    """Predicts with LiteRT's interpreter, on one thread.

    Args:
        path: The file.
    """

    batch_sizes: tuple[int, ...] = (1, 8)

    def __init__(self, path: Path) -> None:
        interpreter: Any = importlib.import_module("ai_edge_litert.interpreter")
        with quiet_standard_error():  # it reports its delegate for CPUs
            self._interpreter = interpreter.Interpreter(str(path), num_threads=1)
            self._compute = self._interpreter.get_signature_runner()
            self._compute(images=np.zeros(self._compute.get_input_details()[INPUT]["shape"], np.float32))

    def predict(self, images: Pixels | ImageArray) -> Prediction:
        """Return the predictions for images."""
        return in_batches(lambda batch: self._compute(images=batch), images, self.batch_sizes[-1])


def write(source: ExportSource, path: Path) -> None:
    """Write a model; see ``fashion.export.formats.FormatModule``."""
    tensorflow: Any = importlib.import_module("tensorflow")
    function = source.model.compute.get_concrete_function()
    with quiet_standard_error():
        converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([function], source.model)
        if source.quantise == "float16":
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tensorflow.float16]
        path.write_bytes(converter.convert())


def open_engine(path: Path) -> LiteRtEngine:
    """Return what runs a written file."""
    return LiteRtEngine(path)
