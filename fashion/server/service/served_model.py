"""The model of one worker process: loaded beside the server, which says so until it is ready."""

import threading
from pathlib import Path

import numpy as np
from werkzeug.exceptions import ServiceUnavailable

from fashion import artifact
from fashion.backend.memory import return_large_blocks
from fashion.backend.selection import Backend, start_backend
from fashion.errors import InputError
from fashion.inference.batcher import BATCH_SIZES, Batcher
from fashion.uncertainty.posthoc import PosthocUncertainty, Prediction

NAME = "fashion_mnist"
# Measured with 32 clients on 2 cores: 219 to 313 requests/s one by one, 450 to 518 joined by 8, 397 to 425 by 16 and
# 355 by 64, which are padded to the next size that is compiled.
JOINED_IMAGES = 8
LOADING_SECONDS = 5  # a guess for Retry-After


class ServedModel:
    """A verified model behind a batcher.

    Args:
        path: A ``.keras`` file with its card beside it, or the folder of a run.
        backend_name: The Keras backend that computes.

    Attributes:
        card: The model's card.
        trust: What the card knows of confidence, and of when to abstain.
        classes: Their names, in the order of the probabilities.
        version: The beginning of the model file's SHA-256.
        stopping: Set when the process was asked to end.

    Raises:
        InputError: When the model is not what its card says; nothing of it was executed.
    """

    def __init__(self, path: Path, backend_name: Backend) -> None:
        self._backend_name = backend_name
        # Without links: `outputs/latest` may lead elsewhere by the time a worker has to be replaced.
        self.path, self.card = artifact.verify(path.resolve())
        self.uncertainty = PosthocUncertainty.from_card(self.card)
        self.classes: list[str] = self.card.classes
        self.version: str = self.card.version
        self.stopping = threading.Event()
        self._batcher: Batcher | None = None

    @property
    def ready(self) -> bool:
        """Whether it answers now, and will for a while."""
        return self._batcher is not None and not self.stopping.is_set()

    def load(self) -> None:
        """Load the model and compute once with every batch size that requests use, so that no request compiles.

        Raises:
            InputError: When the model cannot be loaded, or is no longer the one that was verified.
        """
        return_large_blocks()
        start_backend(self._backend_name)
        from fashion.inference.predictor import Predictor  # imports Keras, on the backend just chosen

        predictor, loaded = Predictor.load(self.path)
        if loaded.card.sha256 != self.card.sha256:
            raise InputError(f"{self.path}: was replaced after the server started; start the server again")
        for size in BATCH_SIZES:
            predictor.predict(np.zeros((size, 28, 28), np.uint8))
        self._batcher = Batcher(predictor.predict, JOINED_IMAGES)

    def predict(self, images: np.ndarray) -> Prediction:
        """Answer images.

        Args:
            images: ``(n, 28, 28)`` uint8, 0-255, or float32 in [0, 1].

        Raises:
            ServiceUnavailable: While the model is being loaded.
        """
        if self._batcher is None:
            raise ServiceUnavailable("The model is being loaded.", retry_after=LOADING_SECONDS)
        # Of one kind, because requests of both kinds are joined in one batch.
        return self._batcher.predict(images if images.dtype == np.float32 else images.astype(np.float32) / 255)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return ``(n, classes)`` float32 calibrated probabilities of images, given as to ``predict``."""
        return self.predict(images).probabilities
