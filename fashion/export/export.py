"""Export a trained model, measure the result on all test images, and keep it if it is as good as the original."""

import hashlib
import os
from pathlib import Path

import numpy as np

from fashion import machine
from fashion.config.build import build
from fashion.data.dataset import Dataset
from fashion.data.split import stratified_sample
from fashion.errors import InputError
from fashion.evaluation.artifact_data import refuse_other_classes
from fashion.evaluation.cost import single_image_milliseconds
from fashion.export import agreement
from fashion.export.export_settings import ExportSettings
from fashion.export.formats import FORMATS, ExportSource
from fashion.export.whole_model import WholeModel
from fashion.exported import CARD_SUFFIX, ExportCard, uncertainty_digest
from fashion.files import replacing, replacing_folder, write_json
from fashion.inference.predictor import Predictor
from fashion.runs.run_record import git_state, now

PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "onnx", "tf2onnx", "onnxruntime", "ai-edge-litert", "numpy")
RANGE_IMAGES, RANGE_SEED = 500, 0  # of the training images, from which the ranges of 8-bit numbers are measured


def export(settings: ExportSettings) -> Path:
    """Write a model in another format beside its ``.keras`` file, with a card of its own.

    Args:
        settings: The checked configuration; Keras already runs on TensorFlow.

    Returns:
        The exported file.

    Raises:
        InputError: When the artifact or the data is not available, or the exported model is worse than the original;
            then an earlier export is intact.
    """
    git = git_state()  # before the minutes of exporting, in which something may be committed
    predictor, loaded = Predictor.load(Path(settings.artifact))
    data: Dataset = build(settings.data, seed=loaded.card.seed)
    refuse_other_classes(data, loaded.card)
    module = FORMATS[settings.format].load()
    path = FORMATS[settings.format].file(loaded.path, settings.quantise)
    if not os.access(path.parent, os.W_OK):
        raise InputError(
            f"artifact: {path.parent} cannot be written to, and the exported model goes there; "
            "copy the run to another folder"
        )
    original = predictor.predict(data.test.images)
    with (replacing_folder if FORMATS[settings.format].is_folder else replacing)(path) as partial:
        model = WholeModel(loaded.model, predictor.uncertainty)
        module.write(ExportSource(model, settings.quantise, _range_images(data), loaded.card), partial)
        engine = module.open_engine(partial)
        exported = engine.predict(data.test.images)
        agreement.refuse(data.test.labels, original, exported, settings.quantise)
        found = agreement.measure(data.test.labels, original, exported, predictor.uncertainty.threshold)
        card = ExportCard(
            format=settings.format,
            quantise=settings.quantise,
            artifact_sha256=loaded.card.sha256,
            card_sha256=uncertainty_digest(loaded.card),
            sha256=_sha256(partial),
            bytes=sum(file.stat().st_size for file in _files(partial)),
            test=found,
            milliseconds=single_image_milliseconds(engine, data.image_shape),
            versions=machine.versions(PACKAGES),
            hardware=machine.hardware(),
            git=git.model_dump() if git else None,
            created=now(),
        )
    write_json(path.with_name(path.name + CARD_SUFFIX), card.model_dump(mode="json", exclude_none=True))
    _print(path, card)
    return path


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _sha256(path: Path) -> str:
    """Return the digest of a file, or of all files in a folder, one after the other."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in _files(path))).hexdigest()


def _range_images(data: Dataset) -> np.ndarray:
    random = np.random.Generator(np.random.PCG64(RANGE_SEED))
    chosen = stratified_sample(data.train.labels, min(RANGE_IMAGES, len(data.train)), random)
    return data.train.images[chosen]


def _print(path: Path, card: ExportCard) -> None:
    found = card.test
    print(f"test accuracy  {found.accuracy:.2%}, of the original {found.keras_accuracy:.2%} ({found.images:,} images)")
    print(f"same class     {found.same_class:,} images; probabilities differ by {found.max_probability_difference:.1g}")
    if found.same_decision is not None:
        print(f"same decision  {found.same_decision:,} images; scores differ by {found.max_score_difference:.1g}")
    print(f"one image      {card.milliseconds:.2f} ms on {card.hardware['processor']}")
    print(f"written        {path}  {card.bytes / 1e6:.2f} MB")
