"""Evaluate an artifact again, hold it against its card, and report how far to trust it."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from fashion import artifact
from fashion.card import CARD_FILE, MODEL_FILE, Card
from fashion.config.build import build
from fashion.config.renames import upgrade_config
from fashion.config.schema import resolved
from fashion.data.dataset import Dataset
from fashion.data.fashion_mnist import CLASSES
from fashion.errors import InputError
from fashion.evaluation import cost, measurement, plots, report
from fashion.evaluation.comparison import compare
from fashion.evaluation.robustness import draw_heat_map, draw_samples, robustness, write_table
from fashion.files import write_json
from fashion.inference.predictor import Predictor
from fashion.runs.folder import CONFUSION_MATRIX_FILE, REPORT_FILE
from fashion.uncertainty import ood_datasets
from fashion.uncertainty.fitting import add_to_card, fit_uncertainty

log = logging.getLogger(__name__)

# Backends and processors round differently, which can turn single images that lie between two classes.
TOLERANCE = 0.001

# Every artifact meets the same corrupted images, whatever its own seed.
CORRUPTION_SEED = 0


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Measure an artifact on the test and the validation images, and write the report, its numbers and a picture.

    Args:
        cfg: A configuration composed from ``configs/evaluate.yaml``; Keras runs on its backend already.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        InputError: When the artifact or the data cannot be had, or the card promises another accuracy.
    """
    config = resolved(cfg)
    folder = Path(config["run_folder"])
    predictor, loaded = Predictor.load(Path(config["artifact"]))
    other = Predictor.load(Path(config["compare"])) if config["compare"] else None
    data: Dataset = build(config["data"], seed=loaded.card.seed)
    # The images that validated the run itself: others of the training file were trained on.
    own_data = config["data"] | {key: loaded.card.config["data"][key] for key in ("limit", "validation_fraction")}
    own: Dataset = data if own_data == config["data"] else build(own_data, seed=loaded.card.seed)
    photos = Path(config["photos"]) if config["photos"] else None
    sets = ood_datasets.reported_sets(photos) if config["outliers"] else {}
    if config["calibrate"]:
        predictor, loaded = _calibrated(loaded, own, folder)
    test, validation = predictor.outputs(data.test_images), predictor.outputs(own.validation_images)

    content = measurement.measure(data.test_labels, test, predictor.uncertainty)
    content["validation"] = measurement.scores(
        own.validation_labels, predictor.uncertainty.prediction(validation).probabilities
    )
    if sets and predictor.uncertainty.abstention:
        content["strangers"] = measurement.strangers(predictor, test, sets)
    content["cost"] = {
        **cost.of_network(loaded.model),
        "milliseconds": cost.one_image_milliseconds(predictor),
        "backend": config["backend"],
    }
    if other:
        content["comparison"] = _comparison(data, predictor.uncertainty.prediction(test).probabilities, *other)

    heat_map = None
    if config["robustness"]:
        content["robustness"], heat_map = _robustness(predictor, data, folder)

    plots.confusion(np.array(content["confusion"]), CLASSES, folder / CONFUSION_MATRIX_FILE)
    pictures = report.gallery(predictor, data.test_images, content["mistakes"])
    report.write(folder, report.about(loaded.card, loaded.model.name, str(loaded.path)), content, pictures, heat_map)
    _tell(loaded, content, folder)
    _hold_against_card(loaded.card, len(data.test_labels), content["test"]["accuracy"])
    return content


def _calibrated(loaded: artifact.Artifact, data: Dataset, folder: Path) -> tuple[Predictor, artifact.Artifact]:
    """Fit temperature and abstention anew, and write the same model with a new card into a folder."""
    predictor = Predictor(loaded.model, features=True)
    validation = predictor.outputs(data.validation_images)
    augment = build(upgrade_config(loaded.card.config)["augment"], seed=loaded.card.seed)
    fitted = fit_uncertainty(predictor.outputs, data, validation, augment)
    card = add_to_card(loaded.card, fitted, data.validation_labels, validation)
    path = folder / MODEL_FILE
    if path.resolve() != loaded.path.resolve():
        shutil.copyfile(loaded.path, path)
    write_json(folder / CARD_FILE, card.to_json())
    log.info("calibrated           %s, with a new card", path)
    return predictor.with_uncertainty(fitted), loaded._replace(card=card, path=path)


def _robustness(predictor: Predictor, data: Dataset, folder: Path) -> tuple[dict[str, Any], Path]:
    """Measure accuracy on corrupted images; return the numbers, and where their picture is."""
    started = time.monotonic()
    measured = robustness(predictor.probabilities, data.test_images, data.test_labels, CORRUPTION_SEED)
    write_table(measured, folder / "robustness.csv")
    draw_heat_map(measured, folder / "robustness.png")
    draw_samples(data.test_images[1], CORRUPTION_SEED, folder / "corruptions.png")
    return {**measured, "seconds": time.monotonic() - started}, folder / "robustness.png"


def _comparison(data: Dataset, first: np.ndarray, other: Predictor, loaded: artifact.Artifact) -> dict[str, Any]:
    about = report.about(loaded.card, loaded.model.name, str(loaded.path))
    return {"other": about, **compare(data.test_labels, first, other.probabilities(data.test_images), CLASSES)}


def _tell(loaded: artifact.Artifact, content: dict[str, Any], folder: Path) -> None:
    log.info("artifact             %s (%s, trained on %s)", loaded.path, loaded.model.name, loaded.card.backend)
    for split in ("test", "validation"):
        numbers = content[split]
        percents = [100 * numbers[key] for key in ("accuracy", "accuracy_low", "accuracy_high")]
        line = "%-20s %.2f %%  (95 %% interval %.2f to %.2f)  loss %.4f"
        log.info(line, f"{split} accuracy", *percents, numbers["loss"])
    if loaded.card.calibration:
        gaps = [100 * content[key]["ece"] for key in ("test", "test_before_calibration")]
        log.info("calibration error    %.2f %%, %.2f %% before calibration", *gaps)
    else:
        log.info("calibration          none in its card; calibrate=true makes an artifact that has it")
    for row in content.get("strangers", []):
        line = "%-20s AUROC %.3f, by confidence alone %.3f; abstained %.1f %%  (%d pictures)"
        log.info(line, row["set"], row["auroc"], row["baseline_auroc"], 100 * row["abstained"], row["images"])
    if "robustness" in content:
        mean = content["robustness"]["mean_corruption_accuracy"]
        log.info("mean corruption      %.2f %% in %.0f s", 100 * mean, content["robustness"]["seconds"])
    if "comparison" in content:
        first = content["comparison"]["rows"][0]
        line = "less the other's     %+.2f points  (95 %% interval %+.2f to %+.2f)  McNemar p = %.2g"
        shown = (100 * first[key] for key in ("difference", "low", "high"))
        log.info(line, *shown, content["comparison"]["mcnemar"]["p_value"])
    log.info("written to           %s", folder / REPORT_FILE)


def _hold_against_card(card: Card, test_images: int, accuracy: float) -> None:
    promised = card.test
    if promised.images != test_images:
        log.info(
            "the card's figure, %.2f %%, is of %d test images: data.limit=%s repeats it",
            100 * promised.accuracy,
            promised.images,
            card.config["data"]["limit"],
        )
    elif abs(promised.accuracy - accuracy) > TOLERANCE:
        raise InputError(
            f"the card promises a test accuracy of {promised.accuracy:.2%}, measured {accuracy:.2%}: "
            "the model does not compute here what it computed where it was trained; compare the versions in the card"
        )
    else:
        log.info("agrees with its card (%.2f %%)", 100 * promised.accuracy)
