"""What computes a server's predictions: Keras, or ONNX Runtime without Keras."""

import importlib.util
from pathlib import Path
from typing import Protocol, runtime_checkable

from fashion.arrays import Pixels
from fashion.backend.processor import find_gpu
from fashion.backend.selection import Backend, Runtime, start_backend
from fashion.card import Card
from fashion.data.image_rows import ImageArray
from fashion.errors import InputError
from fashion.exported import NO_ONNX_RUNTIME, onnx_file, verify_export
from fashion.uncertainty.posthoc import Prediction


@runtime_checkable  # so that tests can check annotations
class Engine(Protocol):
    """A model that is ready to predict.

    Attributes:
        batch_sizes: The numbers of images that a batch is padded to, ascending; each is slow once.
    """

    batch_sizes: tuple[int, ...]

    def predict(self, images: Pixels | ImageArray) -> Prediction:
        """Return the predictions for images."""


def choose_runtime(file: Path, card: Card) -> tuple[Runtime, str]:
    """Return what computes a model fastest here, and why; nothing of either runtime is imported.

    ONNX Runtime starts in a third of the time, needs half the memory and answers sooner than Keras on a CPU. It needs
    an exported file that was made from this very model.

    Args:
        file: A verified ``.keras`` file; an exported one may lie beside it, which is verified if it is chosen.
        card: Its card.

    Raises:
        InputError: When there is no choice but ONNX Runtime, and no exported file for it.
    """
    exported = onnx_file(file)
    if importlib.util.find_spec("keras") is None:
        verify_export(exported, card)
        return "onnx", "Keras is not installed"
    if gpu := find_gpu():
        return "keras", f"{gpu[0]} is available"
    if importlib.util.find_spec("onnxruntime") is None:
        return "keras", NO_ONNX_RUNTIME
    try:
        verify_export(exported, card)
    except InputError as error:
        return "keras", str(error)
    return "onnx", exported.name


def load_engine(runtime: Runtime, backend: Backend, path: Path) -> tuple[Engine, str]:
    """Load an artifact, and nothing of the other runtime.

    Args:
        runtime: What computes.
        backend: Keras's backend, if that computes.
        path: The ``.keras`` file; for ONNX Runtime the exported file is beside it.

    Returns:
        The engine, and the SHA-256 of the ``.keras`` file that it was made from.

    Raises:
        InputError: When a file is missing, damaged, or not what its card describes.
    """
    if runtime == "onnx":
        from fashion.inference.onnx_engine import OnnxEngine

        return OnnxEngine.load(path)
    start_backend(backend)
    from fashion.inference.predictor import Predictor  # imports Keras, on the backend just selected

    predictor, loaded = Predictor.load(path)
    return predictor, loaded.card.sha256
