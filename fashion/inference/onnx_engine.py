"""A model exported to ONNX, run by ONNX Runtime: calibration and abstention are part of its graph."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fashion import artifact
from fashion.arrays import ModelInputs, Pixels
from fashion.data.image_rows import ImageArray
from fashion.errors import InputError
from fashion.exported import NO_ONNX_RUNTIME, onnx_file, verify_export
from fashion.machine import available_cores
from fashion.uncertainty.posthoc import Prediction

INPUT = "images"
# The names of the outputs, and those that stand for them where the model makes no difference between both.
PROBABILITIES, SCORE, PHOTO_PROBABILITIES, PHOTO_SCORE = OUTPUTS = (
    "probabilities",
    "score",
    "photo_probabilities",
    "photo_score",
)
# On 2 cores, two answer as many requests a second as one, and each sooner. More would wait for each other.
MAX_THREADS = 2
# Larger batches are no faster, on one thread or two, and need memory for the maps of all their images.
BATCH_SIZES = (1, 8)


class OnnxEngine:
    """Predicts calibrated class probabilities of images, and how far out of distribution they are.

    Args:
        model: An ONNX file, or its content.
        threads: How many threads compute one batch; None for as many as a server uses.

    Attributes:
        batch_sizes: Any number of images up to the largest of these is computed at once.
    """

    batch_sizes: tuple[int, ...] = BATCH_SIZES

    def __init__(self, model: Path | bytes, threads: int | None = None) -> None:
        onnxruntime = _import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(MAX_THREADS, len(available_cores()))
        # A thread that waits for work would spin, on a core that the server needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = model if isinstance(model, bytes) else str(model)
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    @classmethod
    def load(cls, path: Path) -> tuple["OnnxEngine", str]:
        """Load the exported file that lies beside a ``.keras`` file, after verifying both.

        Returns:
            The engine, and the SHA-256 of the ``.keras`` file.

        Raises:
            InputError: As ``fashion.exported.verify_export``, or when ONNX Runtime is not installed.
        """
        file, card = artifact.verify(path)
        exported = onnx_file(file)
        verify_export(exported, card)
        return cls(exported), card.sha256

    def predict(self, images: Pixels | ImageArray) -> Prediction:
        """Return the predictions for images."""
        return in_batches(self._outputs_of, images, self.batch_sizes[-1])

    def _outputs_of(self, batch: ModelInputs) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(None, {INPUT: batch}), strict=True))


def in_batches(
    compute: Callable[[ModelInputs], dict[str, np.ndarray]], images: Pixels | ImageArray, size: int
) -> Prediction:
    """Return the predictions of an exported model for images.

    Args:
        compute: From a batch to the model's outputs by name.
        images: Any number of them.
        size: Images in a batch, at most.
    """
    parts = [_prediction(compute, images[start : start + size]) for start in range(0, len(images), size)]
    return Prediction(*(np.concatenate(rows) for rows in zip(*parts, strict=True)))


def _prediction(compute: Callable[[ModelInputs], dict[str, np.ndarray]], images: Pixels) -> Prediction:
    found = compute(images if images.dtype == np.float32 else images.astype(np.float32) / 255)
    probabilities = found[PROBABILITIES]
    scores = found.get(SCORE, np.full(len(images), np.nan, np.float32))
    return Prediction(
        probabilities, scores, found.get(PHOTO_PROBABILITIES, probabilities), found.get(PHOTO_SCORE, scores)
    )


def _import_onnxruntime() -> Any:
    try:
        return importlib.import_module("onnxruntime")  # an extra
    except ModuleNotFoundError:
        raise InputError(NO_ONNX_RUNTIME) from None
