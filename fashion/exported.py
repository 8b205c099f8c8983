"""A model that was exported to another format: its files beside the ``.keras`` file, and the card that describes it."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import pydantic

from fashion.card import Card, Entry
from fashion.errors import InputError
from fashion.extras import install_command

Quantise = Literal["none", "float16", "int8"]
CARD_SUFFIX = ".json"  # after the name of the exported file
EXPORT_COMMAND = "python scripts/export.py"
NO_ONNX_RUNTIME = f"ONNX Runtime is not installed; run {install_command('onnx')}"


class Agreement(Entry):
    """How an exported model's answers to the test images compare with those of the model that it was made from.

    Attributes:
        images: How many images were compared.
        accuracy: Share of correct predictions of the exported model.
        keras_accuracy: The same of the original.
        same_class: For how many images both predict the same class.
        max_recall_difference: The largest difference between both in the recall of a class.
        max_probability_difference: The largest difference in the probability of a class.
        same_decision: For how many images both accept, or both abstain; None if the model never abstains.
        max_score_difference: The largest difference in the out-of-distribution score.
    """

    images: int
    accuracy: float
    keras_accuracy: float
    same_class: int
    max_recall_difference: float
    max_probability_difference: float
    same_decision: int | None = None
    max_score_difference: float | None = None


class ExportCard(Entry):
    """What is known of an exported model.

    Attributes:
        format: What it was exported to.
        quantise: The type of its weights: ``none`` keeps float32.
        artifact_sha256: Digest of the ``.keras`` file that it was made from.
        card_sha256: Digest of what the artifact's card says about calibration and abstention, which are part of it.
        sha256: Digest of the exported file, or of the files of a folder.
        bytes: Its size.
        test: How it compares with the original on the test images.
        milliseconds: Median time of one image, on one thread except for ``saved_model``.
        versions: Package to version.
        hardware: Processor, cores, memory and system.
        git: The commit, and whether the working tree differed from it.
        created: When it was written, ISO 8601.
    """

    format: str
    quantise: Quantise
    artifact_sha256: str
    card_sha256: str
    sha256: str
    bytes: int
    test: Agreement
    milliseconds: float
    versions: dict[str, str]
    hardware: dict[str, Any]
    git: dict[str, Any] | None = None
    created: str


def export_file(model: Path, suffix: str, quantise: Quantise) -> Path:
    """Return where an exported form of a ``.keras`` file is."""
    return model.with_suffix(suffix if quantise == "none" else f".{quantise}{suffix}")


def onnx_file(model: Path) -> Path:
    """Return where the ONNX file is that a server reads."""
    return export_file(model, ".onnx", "none")


def uncertainty_digest(card: Card) -> str:
    """Return a digest of what a card says about calibration and abstention, which ``calibrate=true`` may change."""
    parts = ("calibration", "abstention", "photo_odds", "photo_abstention")
    content = card.to_json()
    return hashlib.sha256(json.dumps([content.get(part) for part in parts], sort_keys=True).encode()).hexdigest()


def verify_export(file: Path, card: Card) -> ExportCard:
    """Check that an exported file is the one its card describes, and was made from the model with this card.

    Args:
        file: The exported file, with its own card beside it.
        card: The card of the ``.keras`` file.

    Raises:
        InputError: When a file is missing or damaged, or was made from another model.
    """
    command = f"{EXPORT_COMMAND} format=onnx artifact={file.parent}"
    described = file.with_name(file.name + CARD_SUFFIX)
    try:
        found = ExportCard.model_validate_json(described.read_bytes())
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: there is no such file; export the model: {command}") from None
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); copy it again, or {command}") from None
    except pydantic.ValidationError:
        raise InputError(f"{described}: is not the card of an exported model; export it again: {command}") from None
    if found.sha256 != digest:
        raise InputError(f"{file}: its SHA-256 is {digest}, its card expects {found.sha256}; export again: {command}")
    if (found.artifact_sha256, found.card_sha256) != (card.sha256, uncertainty_digest(card)):
        raise InputError(f"{file}: was made from another model than the .keras file beside it; export it: {command}")
    return found
