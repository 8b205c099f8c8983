"""Evaluate an artifact again, and hold it against its card."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from fashion.config.build import build
from fashion.config.schema import resolved
from fashion.data.dataset import CLASSES, Dataset
from fashion.errors import FashionError
from fashion.evaluation import figures
from fashion.evaluation.metrics import confusion_matrix, summary
from fashion.evaluation.robustness import draw_heat_map, draw_samples, robustness, write_table
from fashion.files import write_json
from fashion.inference.predictor import Predictor

log = logging.getLogger(__name__)

# Backends and processors round differently, which can turn single images that lie between two classes.
TOLERANCE = 0.001

# Every artifact meets the same corrupted images, whatever its own seed.
CORRUPTION_SEED = 0


def evaluate(cfg: DictConfig) -> dict[str, dict[str, float]]:
    """Measure an artifact on the test and the validation images, and write the numbers and the confusion matrix.

    Args:
        cfg: A configuration composed from ``configs/evaluate.yaml``; Keras runs on its backend already.

    Returns:
        ``test`` and ``validation``, each with accuracy, its 95 % interval, and loss.

    Raises:
        FashionError: When the artifact or the data cannot be had, or the card promises another accuracy.
    """
    predictor, artifact = Predictor.load(Path(cfg.artifact))
    config = resolved(cfg)
    data: Dataset = build(config["data"], seed=artifact.card["seed"])
    # The images that validated the run itself: others of the training file were trained on.
    own_split = {key: artifact.card["config"]["data"][key] for key in ("limit", "validation_fraction")}
    own: Dataset = build(config["data"] | own_split, seed=artifact.card["seed"])
    test_probabilities = predictor.probabilities(data.test_images)
    measured = {
        "test": summary(data.test_labels, test_probabilities),
        "validation": summary(own.validation_labels, predictor.probabilities(own.validation_images)),
    }
    counts = confusion_matrix(data.test_labels, np.argmax(test_probabilities, axis=1), len(CLASSES))
    folder = Path(cfg.run_folder)
    corrupted = {"robustness": _robustness(predictor, data, folder)} if cfg.robustness else {}
    write_json(folder / "metrics.json", {"artifact": str(artifact.path), **measured, **corrupted})
    figures.confusion(counts, CLASSES, folder / "confusion_matrix.png")

    name, trained_on = artifact.model.name, artifact.card["backend"]
    log.info("artifact             %s (%s, trained on %s)", artifact.path, name, trained_on)
    for split, numbers in measured.items():
        percents = [100 * numbers[key] for key in ("accuracy", "accuracy_low", "accuracy_high")]
        line = "%-20s %.2f %%  (95 %% interval %.2f to %.2f)  loss %.4f"
        log.info(line, f"{split} accuracy", *percents, numbers["loss"])
    if corrupted:
        mean = corrupted["robustness"]["mean_corruption_accuracy"]
        log.info("mean corruption      %.2f %% in %.0f s", 100 * mean, corrupted["robustness"]["seconds"])
    log.info("written to           %s", folder)
    _hold_against_card(artifact.card, len(data.test_labels), measured["test"]["accuracy"])
    return measured


def _robustness(predictor: Predictor, data: Dataset, folder: Path) -> dict[str, Any]:
    started = time.monotonic()
    measured = robustness(predictor.probabilities, data.test_images, data.test_labels, CORRUPTION_SEED)
    write_table(measured, folder / "robustness.csv")
    draw_heat_map(measured, folder / "robustness.png")
    draw_samples(data.test_images[1], CORRUPTION_SEED, folder / "corruptions.png")
    return {**measured, "seconds": time.monotonic() - started}


def _hold_against_card(card: dict[str, Any], test_images: int, accuracy: float) -> None:
    promised = card["test"]
    if promised["images"] != test_images:
        log.info(
            "the card's figure, %.2f %%, is of %d test images: data.limit=%s repeats it",
            100 * promised["accuracy"],
            promised["images"],
            card["config"]["data"]["limit"],
        )
    elif abs(promised["accuracy"] - accuracy) > TOLERANCE:
        raise FashionError(
            f"the card promises a test accuracy of {promised['accuracy']:.2%}, measured {accuracy:.2%}: "
            "the model does not compute here what it computed where it was trained; compare the versions in the card"
        )
    else:
        log.info("agrees with its card (%.2f %%)", 100 * promised["accuracy"])
