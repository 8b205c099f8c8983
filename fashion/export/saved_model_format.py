"""``format=saved_model``: the folder that TensorFlow, TensorFlow Serving and Vertex AI load."""

import importlib
import logging
from pathlib import Path
from typing import Any

from fashion.arrays import Pixels
from fashion.data.image_rows import ImageArray
from fashion.export.formats import ExportSource
from fashion.inference.onnx_engine import in_batches
from fashion.uncertainty.posthoc import Prediction

SIGNATURE = "serving_default"


class SavedModelEngine:
    """Predicts with the signature of a SavedModel.

    Args:
        path: The folder.
    """

    batch_sizes: tuple[int, ...] = (1, 64)

    def __init__(self, path: Path) -> None:
        tensorflow: Any = importlib.import_module("tensorflow")
        self._model = tensorflow.saved_model.load(str(path))  # whose variables live as long as this
        self._compute = self._model.signatures[SIGNATURE]
        self._tensor = tensorflow.constant

    def predict(self, images: Pixels | ImageArray) -> Prediction:
        """Return the predictions for images."""
        return in_batches(
            lambda batch: {name: rows.numpy() for name, rows in self._compute(images=self._tensor(batch)).items()},
            images,
            self.batch_sizes[-1],
        )


def write(source: ExportSource, path: Path) -> None:
    """Write a model; see ``fashion.export.formats.FormatModule``."""
    tensorflow: Any = importlib.import_module("tensorflow")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    signatures = {SIGNATURE: source.model.compute.get_concrete_function()}
    tensorflow.saved_model.save(source.model, str(path), signatures=signatures)


def open_engine(path: Path) -> SavedModelEngine:
    """Return what runs a written folder."""
    return SavedModelEngine(path)
