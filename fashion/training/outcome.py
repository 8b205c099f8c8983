"""The end of a run: the test set, once; the artifact and its card; the pictures."""

from typing import Any

import keras
import numpy as np

from fashion import artifact
from fashion.config.identity import comparable, config_hash
from fashion.data.dataset import CLASSES, Dataset
from fashion.evaluation import figures
from fashion.evaluation.metrics import confusion_matrix, summary
from fashion.inference.predictor import Predictor
from fashion.training import record
from fashion.training.callbacks import RunRecorder


def write(model: keras.Model, data: Dataset, recorder: RunRecorder, run: record.Run) -> dict[str, float]:
    """Measure the trained model and write it with all that is known of it; the only place that reads the test set.

    Args:
        model: What the artifact will hold.
        data: The data it was trained on.
        recorder: The history of its training.
        run: Its run, whose metrics are filled in.

    Returns:
        The metrics of the test images.

    Raises:
        FashionError: When a file cannot be written.
    """
    predictor = Predictor(model)
    probabilities = predictor.probabilities(data.test_images)
    test = summary(data.test_labels, probabilities)
    validation = summary(data.validation_labels, predictor.probabilities(data.validation_images))
    run.metrics = {
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        "val_accuracy": validation["accuracy"],
        "val_loss": validation["loss"],
    }
    artifact.save(model, _card(run, data, recorder, test, validation), run.folder)
    figures.training_curves(recorder.history, run.folder / "training_curves.png")
    counts = confusion_matrix(data.test_labels, np.argmax(probabilities, axis=1), len(CLASSES))
    figures.confusion(counts, CLASSES, run.folder / "confusion_matrix.png")
    return test


def _card(
    run: record.Run,
    data: Dataset,
    recorder: RunRecorder,
    test: dict[str, float],
    validation: dict[str, float],
) -> dict[str, Any]:
    environment = record.environment()
    return {
        "classes": list(CLASSES),
        "input": "(n, 28, 28, 1) float32 in [0, 1]; light objects on a black ground, as in Fashion-MNIST",
        "output": "(n, 10) float32 softmax probabilities, in the order of classes",
        "test": {**test, "images": len(data.test_labels)},
        "validation": {**validation, "images": len(data.validation_labels)},
        "parameters": int(sum(np.prod(variable.shape) for variable in recorder.model.core.trainable_weights)),
        "epochs": len(recorder.history["loss"]),
        "training_seconds": round(recorder.seconds, 1),
        "data": data.digests,
        "seed": run.config["trainer"]["seed"],
        "config": comparable(run.config),
        "config_hash": config_hash(run.config),
        **{key: environment[key] for key in ("backend", "device", "versions", "hardware", "git")},
        "created": record.now(),
    }
