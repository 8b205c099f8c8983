"""The model of a worker process, loaded while the server already answers that it is not ready."""

import threading
from pathlib import Path
from typing import Literal

import numpy as np

from fashion import artifact
from fashion.backend.memory import return_large_blocks
from fashion.backend.selection import Backend, Runtime
from fashion.errors import InputError
from fashion.exported import onnx_file, verify_export
from fashion.inference.batcher import Batcher, are_joined
from fashion.inference.engine import choose_runtime, load_engine
from fashion.preprocessing.input_spec import InputSpec
from fashion.server.problems import UnavailableError
from fashion.uncertainty.posthoc import PosthocUncertainty, Prediction

# Measured with 32 clients on 2 cores: 219 to 313 requests/s one by one, 450 to 518 in batches of up to 8, 397 to 425 of
# up to 16 and 355 of up to 64, which are padded to the next size that is compiled.
MAX_BATCH_IMAGES = 8
LOADING_SECONDS = 5  # a guess for Retry-After
PLATFORMS: dict[Runtime, str] = {"keras": "keras", "onnx": "onnxruntime_onnx"}


class ServedModel:
    """A verified model behind a batcher.

    Args:
        path: A ``.keras`` file with its card beside it, or a run folder.
        backend_name: The Keras backend, if that computes.
        runtime: What computes: Keras, or ONNX Runtime with the exported file beside the ``.keras`` file; ``auto``
            chooses.

    Attributes:
        path: The model file.
        card: The model's card.
        runtime: What computes.
        chosen_because: Why ``auto`` became that; empty if the runtime was given.
        uncertainty: Calibration and abstention, as the card describes them.
        classes: Class names, in the order of the probabilities.
        input: What the model takes.
        platform: What computes, as the Open Inference Protocol names it.
        name: In addresses and responses: that of the data it was trained on.
        version: The first characters of the model file's SHA-256.
        stopping: Set once the process is asked to stop.

    Raises:
        InputError: If the model file, or the exported one, does not match its card; nothing of it was executed.
    """

    def __init__(self, path: Path, backend_name: Backend, runtime: Runtime | Literal["auto"] = "keras") -> None:
        self._backend_name = backend_name
        self.path, self.card = artifact.verify(path)
        self.chosen_because = ""
        if runtime == "auto":
            runtime, self.chosen_because = choose_runtime(self.path, self.card)
        elif runtime == "onnx":
            verify_export(onnx_file(self.path), self.card)
        self.runtime: Runtime = runtime
        self.uncertainty = PosthocUncertainty.from_card(self.card)
        self.classes = self.card.classes
        self.input: InputSpec = self.card.input
        self.platform = PLATFORMS[runtime]
        self.name = self.card.data.name
        self.version = self.card.version
        self.stopping = threading.Event()
        self._batcher: Batcher | None = None

    @property
    def ready(self) -> bool:
        """Whether predictions are answered now and for a while."""
        return self._batcher is not None and not self.stopping.is_set()

    def load(self) -> None:
        """Load the model and run every batch size once, so that no request waits for a compilation.

        Raises:
            InputError: If the model cannot be loaded, or is no longer the verified one.
        """
        return_large_blocks()
        engine, sha256 = load_engine(self.runtime, self._backend_name, self.path)
        if sha256 != self.card.sha256:
            raise InputError(f"{self.path}: was replaced after the server started; restart the server")
        for size in engine.batch_sizes:
            engine.predict(np.zeros((size, *self.input.shape), np.uint8))
        self._batcher = Batcher(engine.predict, MAX_BATCH_IMAGES if are_joined(self.input.shape) else 1)

    def predict(self, images: np.ndarray) -> Prediction:
        """Compute probabilities and scores of images.

        Args:
            images: ``(n, h, w, c)`` uint8, 0-255, or float32 in [0, 1].

        Raises:
            UnavailableError: While the model is being loaded.
        """
        if self._batcher is None:
            raise UnavailableError("not_ready", "The model is being loaded.", retry_after=LOADING_SECONDS)
        # One dtype for all, because requests of both dtypes are joined in one batch.
        return self._batcher.predict(images if images.dtype == np.float32 else images.astype(np.float32) / 255)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return ``(n, classes)`` float32 calibrated probabilities of images, given as to ``predict``."""
        return self.predict(images).probabilities
