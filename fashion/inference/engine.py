"""What computes a server's predictions: Keras, or ONNX Runtime without Keras."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from fashion.arrays import Pixels
from fashion.backend.selection import Backend, Runtime, start_backend
from fashion.data.image_rows import ImageArray
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
