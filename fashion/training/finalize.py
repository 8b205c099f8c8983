"""The end of a run: the test set, once; the artifact and its card; the report and its figures."""

import dataclasses

import keras
import numpy as np

from fashion import artifact
from fashion.card import Card, DataEntry, PageEntry, SplitScores
from fashion.config.build import build
from fashion.data.dataset import Dataset
from fashion.evaluation import cost, measurement, plots, report
from fashion.evaluation.records import ModelSummary
from fashion.inference.predictor import Predictor
from fashion.metrics import Summary, summary
from fashion.runs.active_run import ActiveRun
from fashion.runs.folder import RunFolder
from fashion.runs.identity import comparable, config_hash
from fashion.runs.predictions import ValidationPredictions
from fashion.runs.run_record import now
from fashion.training.callbacks import EpochRecorder
from fashion.training.example_images import example_images
from fashion.uncertainty.abstention import FeatureVectors
from fashion.uncertainty.fitting import add_to_card, fit_uncertainty
from fashion.uncertainty.posthoc import Outputs


def write(
    model: keras.Model,
    data: Dataset,
    recorder: EpochRecorder,
    run: ActiveRun,
    training_features: FeatureVectors | None = None,
) -> Summary:
    """Evaluate the trained model and write it with its card and report; the only place that reads the test set.

    Args:
        model: The model of the artifact.
        data: The data it was trained on.
        recorder: The history of its training.
        run: Its run, whose metrics are filled in.
        training_features: What abstention is fitted to, for each training image; None to compute it.

    Returns:
        The metrics of the test images.

    Raises:
        WriteError: When a file cannot be written.
    """
    predictor = Predictor(model, features=True)
    outputs, validation_outputs = predictor.outputs(data.test.images), predictor.outputs(data.validation.images)
    test = summary(data.test.labels, outputs.probabilities)
    validation = summary(data.validation.labels, validation_outputs.probabilities)
    run.metrics = {
        "test_accuracy": test.accuracy,
        "test_macro_accuracy": test.macro_accuracy,
        "test_loss": test.loss,
        "val_accuracy": validation.accuracy,
        "val_macro_accuracy": validation.macro_accuracy,
        "val_loss": validation.loss,
    }
    if run.config["data"].get("folds") is not None:
        run.folder.write_validation_predictions(
            ValidationPredictions(
                np.array(data.classes),
                data.validation.sources,
                data.validation.labels,
                validation_outputs.probabilities,
            )
        )
    augment = build(run.config["augment"], seed=run.config["trainer"]["seed"])
    fitted = fit_uncertainty(predictor.outputs, data, validation_outputs, augment, training_features)
    card = _card(run, data, recorder, test, validation)
    card = add_to_card(card, fitted, data.validation.labels, validation_outputs)
    path = artifact.save(model, card, run.folder.path)
    if recorder.history:
        plots.training_curves(recorder.history, run.folder.training_curves)
    else:  # it may have those of a run that this one replaces
        run.folder.training_curves.unlink(missing_ok=True)
    saved = artifact.Artifact(model, artifact.verify(path)[1], path)
    _report(predictor.with_uncertainty(fitted), saved, data, outputs, run.folder)
    return test


def _report(predictor: Predictor, saved: artifact.Artifact, data: Dataset, outputs: Outputs, folder: RunFolder) -> None:
    """Write the parts of the report that take seconds; ``scripts/evaluate.py`` writes all of it."""
    measured = measurement.measure(
        ModelSummary.of(saved), data.test.labels, outputs, predictor.uncertainty, data.classes
    )
    measured = dataclasses.replace(measured, cost=cost.network_cost(saved.model))
    plots.confusion_matrix(np.array(measured.confusion), data.classes, folder.confusion_matrix)
    gallery = report.mistake_images(predictor, data.test.images, measured.mistakes, data.classes, data.pixels)
    report.write(folder.path, measured, gallery)


def _card(
    run: ActiveRun,
    data: Dataset,
    recorder: EpochRecorder,
    test: Summary,
    validation: Summary,
) -> Card:
    return Card(
        classes=list(data.classes),
        input=data.input,
        output=f"(n, {len(data.classes)}) float32 softmax probabilities, in the order of classes",
        test=SplitScores(**test._asdict(), images=len(data.test)),
        validation=SplitScores(**validation._asdict(), images=len(data.validation)),
        parameters=cost.parameters(recorder.model.core),
        epochs=len(recorder.history.get("loss", [])),
        training_seconds=round(recorder.seconds, 1),
        data=DataEntry(
            name=data.name,
            title=data.title,
            counts={"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
            digests=data.digests,
            pixel_mean=data.pixels.mean,
            pixel_deviation=data.pixels.deviation,
        ),
        page=PageEntry(**data.page._asdict()),
        examples=example_images(data),
        seed=run.config["trainer"]["seed"],
        config=comparable(run.config),
        config_hash=config_hash(run.config),
        **run.environment.model_dump(exclude={"command"}),
        created=now(),
    )
