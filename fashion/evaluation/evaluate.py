"""Evaluate an artifact again, check it against its card, and report how far to trust it."""

import dataclasses
import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np

from fashion import artifact
from fashion.arrays import Probabilities
from fashion.card import Card
from fashion.config.build import build
from fashion.config.nodes import ConfigNode
from fashion.config.renames import upgrade_config
from fashion.data.dataset import Dataset
from fashion.errors import InputError
from fashion.evaluation import cost, measurement, plots, report
from fashion.evaluation.artifact_data import fits, refuse_other_classes, warn_if_redrawn
from fashion.evaluation.comparison import compare
from fashion.evaluation.evaluation_settings import EvaluationSettings
from fashion.evaluation.records import Comparison, Measurement, ModelSummary, Robustness
from fashion.evaluation.robustness import draw_heat_map, draw_samples, robustness, write_table
from fashion.files import replacing, write_json
from fashion.inference.predictor import Predictor
from fashion.preprocessing.input_spec import InputSpec
from fashion.runs.folder import CONFUSION_MATRIX_FILE, REPORT_FILE
from fashion.uncertainty import ood_datasets
from fashion.uncertainty.fitting import add_to_card, fit_uncertainty

log = logging.getLogger(__name__)

# Backends and processors round differently, which can change the class of single images near a decision boundary.
TOLERANCE = 0.001

# What chooses a run's training and validation images, beside its seed; cards of earlier releases have no folds.
SPLIT_KEYS = ("limit", "validation_fraction", "folds", "fold")

# The same corrupted images for every artifact, whatever the seed it was trained with.
CORRUPTION_SEED = 0


def evaluate(settings: EvaluationSettings) -> Measurement:
    """Measure an artifact on the test and the validation images, and write the report, its numbers and figures.

    Args:
        settings: The checked configuration; Keras already runs on its backend.

    Raises:
        InputError: When the artifact or the data is not available; after all is written, when the card reports another
            accuracy, or one of the photos could not be read.
    """
    folder = Path(settings.run_folder)
    predictor, loaded = Predictor.load(Path(settings.artifact))
    other = Predictor.load(Path(settings.compare)) if settings.compare else None
    data: Dataset = build(settings.data, seed=loaded.card.seed)
    refuse_other_classes(data, loaded.card)
    warn_if_redrawn(data, loaded.card, settings.data)
    if other:
        if not fits(data, other[1].card):
            raise InputError(
                f"compare: {settings.compare} has other classes, or images of another size or preprocessing, than "
                f"{settings.artifact}; expected a model with the same"
            )
        warn_if_redrawn(data, other[1].card, settings.data)
    # The images that validated the run itself: it was trained on others of the training images.
    stored = loaded.card.config["data"]
    own_data = settings.data
    if data.digests == loaded.card.data.digests:  # other images did not validate it, and may be fewer than its limit
        own_data = own_data | {key: stored.get(key) for key in SPLIT_KEYS if key in settings.data}
    own: Dataset = data if own_data == settings.data else build(own_data, seed=loaded.card.seed)
    ood_sets, unreadable = _ood_sets(settings, loaded.card.input)
    if settings.calibrate:
        predictor, loaded = _calibrated(loaded, own, folder)
    test, validation = predictor.outputs(data.test.images), predictor.outputs(own.validation.images)
    uncertainty = predictor.uncertainty

    measured = measurement.measure(ModelSummary.of(loaded), data.test.labels, test, uncertainty, data.classes)
    measured = dataclasses.replace(
        measured,
        validation=measurement.scores(own.validation.labels, uncertainty.prediction(validation).probabilities),
        ood=measurement.ood_scores(predictor, test, ood_sets) if ood_sets and uncertainty.abstention else None,
        cost=dataclasses.replace(
            cost.network_cost(loaded.model),
            milliseconds=cost.single_image_milliseconds(predictor, predictor.image_shape),
            backend=settings.backend,
        ),
        comparison=_comparison(data, uncertainty.prediction(test).probabilities, *other) if other else None,
        robustness=_robustness(predictor, data, folder) if settings.robustness else None,
    )
    plots.confusion_matrix(np.array(measured.confusion), data.classes, folder / CONFUSION_MATRIX_FILE)
    gallery = report.mistake_images(predictor, data.test.images, measured.mistakes, data.classes, data.pixels)
    report.write(folder, measured, gallery, folder / "robustness.png" if measured.robustness else None)
    _log_results(measured, calibrated=loaded.card.calibration is not None)
    if ood_sets and not uncertainty.abstention:
        log.info(
            "not measured         out-of-distribution images: the model cannot abstain; calibrate=true may add that"
        )
    log.info("written to           %s", folder / REPORT_FILE)
    if data.digests != loaded.card.data.digests:
        log.info("not compared with its card: %s is not the data it was trained on, by the digests", data.title)
    else:
        _check_against_card(loaded.card, settings.data, measured.test.images, measured.test.accuracy)
    if unreadable:
        raise InputError(
            f"photos: {len(unreadable)} files could not be read and were skipped; the report covers the others"
        )
    return measured


def _ood_sets(settings: EvaluationSettings, spec: InputSpec) -> tuple[dict[str, ood_datasets.ImageSet], list[str]]:
    """Return out-of-distribution images by name, and what is wrong with each file of the user that cannot be read."""
    if not settings.outliers:
        return {}, []
    sets = ood_datasets.reported_sets(spec)
    if settings.photos is None:
        return sets, []
    photos, unreadable = ood_datasets.photo_folders(Path(settings.photos), spec)
    for message in unreadable:
        print(f"error: {message}; it is skipped", file=sys.stderr)
    return sets | photos, unreadable


def _calibrated(loaded: artifact.Artifact, data: Dataset, folder: Path) -> tuple[Predictor, artifact.Artifact]:
    """Refit temperature and abstention, and write the same model with a new card into a folder."""
    predictor = Predictor(loaded.model, features=True)
    validation = predictor.outputs(data.validation.images)
    augment = build(upgrade_config(loaded.card.config)["augment"], seed=loaded.card.seed)
    fitted = fit_uncertainty(predictor.outputs, data, validation, augment)
    card = add_to_card(loaded.card, fitted, data.validation.labels, validation)
    path = folder / card.file_name
    if path.resolve() != loaded.path.resolve():
        with replacing(path) as partial:
            shutil.copyfile(loaded.path, partial)
    write_json(path.with_suffix(".json"), card.to_json())
    log.info("calibrated           %s and its new card", path)
    return predictor.with_uncertainty(fitted), loaded._replace(card=card, path=path)


def _robustness(predictor: Predictor, data: Dataset, folder: Path) -> Robustness:
    """Measure accuracy on corrupted images, and write it as a table and figures."""
    measured = robustness(predictor.probabilities, data.test.images, data.test.labels, CORRUPTION_SEED)
    write_table(measured, folder / "robustness.csv")
    draw_heat_map(measured, folder / "robustness.png")
    draw_samples(data.test.images[min(1, len(data.test) - 1)], CORRUPTION_SEED, folder / "corruptions.png")
    return measured


def _comparison(data: Dataset, first: Probabilities, other: Predictor, loaded: artifact.Artifact) -> Comparison:
    second = other.probabilities(data.test.images)
    return Comparison(ModelSummary.of(loaded), *compare(data.test.labels, first, second, data.classes))


def _log_results(measured: Measurement, *, calibrated: bool) -> None:
    model = measured.artifact
    log.info("artifact             %s (%s, trained on %s)", model.path, model.name, model.backend)
    for split, scores in (("test", measured.test), ("validation", measured.validation)):
        if scores:
            percents = [100 * share for share in (scores.accuracy, scores.accuracy_low, scores.accuracy_high)]
            line = "%-20s %.2f %%  (95 %% interval %.2f to %.2f)  loss %.4f"
            log.info(line, f"{split} accuracy", *percents, scores.loss)
            if measured.unequal_classes:
                shares = (scores.macro_accuracy, scores.macro_accuracy_low, scores.macro_accuracy_high)
                log.info(
                    "  macro accuracy     %.2f %%  (95 %% interval %.2f to %.2f)", *(100 * share for share in shares)
                )
    if calibrated:
        after, before = 100 * measured.test.ece, 100 * measured.test_before_calibration.ece
        log.info("calibration error    %.2f %%, %.2f %% before calibration", after, before)
    else:
        log.info("calibration          none; calibrate=true writes a calibrated copy of the artifact")
    for row in measured.ood or ():
        line = "%-20s AUROC %.3f, by confidence alone %.3f; abstains on %.1f %% of %d images"
        log.info(line, row.set, row.auroc, row.baseline_auroc, 100 * row.abstained, row.images)
    if measured.robustness:
        mean, seconds = 100 * measured.robustness.mean_corruption_accuracy, measured.robustness.seconds
        log.info("corrupted images     %.2f %% mean accuracy, measured in %.0f s", mean, seconds)
    if measured.comparison:
        accuracy, test = measured.comparison.rows[0], measured.comparison.mcnemar
        line = "versus the other     %+.2f points  (95 %% interval %+.2f to %+.2f)  McNemar p = %.2g"
        log.info(line, 100 * accuracy.difference, 100 * accuracy.low, 100 * accuracy.high, test.p_value)


def _check_against_card(card: Card, data: ConfigNode, test_images: int, accuracy: float) -> None:
    reported, trained = card.test, card.config["data"]
    if reported.images != test_images:
        keys = ("limit", "test_fraction")
        differing = [key for key in keys if trained.get(key) != data.get(key)] or keys[:1]
        log.info(
            "the card's %.2f %% was measured on %d test images: %s reproduces it",
            100 * reported.accuracy,
            reported.images,
            " ".join(f"data.{key}={json.dumps(trained.get(key))}" for key in differing),  # null, not None
        )
    elif abs(reported.accuracy - accuracy) > max(TOLERANCE, 1.5 / test_images):  # one image of a few
        raise InputError(
            f"the card reports a test accuracy of {reported.accuracy:.2%}, measured {accuracy:.2%}: the model gives "
            "other results here than where it was trained; compare the versions in the card with the installed ones"
        )
    else:
        log.info("agrees with its card (%.2f %%)", 100 * reported.accuracy)
