"""The trained model as a file: ``NAME_model.keras``, after the name of its data, and beside it its card.

The file contains stock Keras layers and no optimizer state, so that plain Keras loads it on any backend, from release
3.10 on (see ``fashion.portable_config``). The card describes the model and its measured accuracy, and records the
digest of the model file.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fashion.card import MODEL_SUFFIX, Card, model_file, read_card
from fashion.errors import InputError
from fashion.files import replacing, write_json
from fashion.portable_config import Node, make_portable, nodes

if TYPE_CHECKING:  # a process that only verifies a model does without Keras, and can fork
    import keras


class Artifact(NamedTuple):
    """A verified model, its card, and where it was loaded from."""

    model: "keras.Model"
    card: Card
    path: Path


def save_model(model: "keras.Model", path: Path) -> str:
    """Write a model of stock layers as a ``.keras`` file for inference, whole or not at all.

    Returns:
        The SHA-256 of the file.

    Raises:
        WriteError: When the file cannot be written.
    """
    with replacing(path) as partial:
        model.save(partial)
        make_portable(partial)
        return _sha256(partial)


def save(model: "keras.Model", card: Card, folder: Path) -> Path:
    """Write the model and its card into a folder.

    Args:
        model: A model of stock layers, ``(n, h, w, c)`` float32 in [0, 1] to ``(n, classes)`` probabilities.
        card: What describes it; the file name and the digest are added here.
        folder: Where both files go.

    Returns:
        The path of the model file.

    Raises:
        WriteError: When a file cannot be written.
    """
    path = folder / card.file_name
    digest = save_model(model, path)
    card = card.model_copy(update={"model_file": path.name, "sha256": digest})
    write_json(path.with_suffix(".json"), card.to_json())
    for former in set(folder.glob(f"*{MODEL_SUFFIX}")) - {path}:  # of a run that this one replaces
        former.with_suffix(".json").unlink(missing_ok=True)
        former.unlink()
    return path


def load(path: Path) -> Artifact:
    """Load a model after verifying it.

    Args:
        path: A ``.keras`` file with its card beside it, or the folder of a run.

    Raises:
        InputError: As ``verify``, and when Keras cannot load the file, or its shapes are not those in the card.
    """
    file, card = verify(path)
    import keras

    from fashion.backend.initial_values import few_programs  # imports Keras

    try:
        with few_programs():
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{file}: Keras cannot load it ({reason}); copy it again, or train a new model") from error
    computes, described = (*model.input_shape[1:], model.output_shape[-1]), (*card.input.shape, len(card.classes))
    if computes != described:
        raise InputError(
            f"{file}: takes {_words(computes)}, its card describes {_words(described)}; "
            "copy both files again, from one run"
        )
    return Artifact(model, card, file)


def verify(path: Path) -> tuple[Path, Card]:
    """Check that a model is the one its card describes and has stock layers only, without executing any part of it.

    Args:
        path: A ``.keras`` file with its card beside it, or the folder of a run.

    Returns:
        The model file, in a folder without links, and its card.

    Raises:
        InputError: When a file is missing, damaged, of another kind, not the one the card was written for, or contains
            layers other than Keras's own.
    """
    file = model_file(path) if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file}: there is no such model file; train one (make train), or name another")
    if file.suffix != ".keras":
        raise InputError(f"{file}: got a {file.suffix or 'nameless'} file, expected a .keras file")
    # A link to a folder, such as outputs/latest, may lead to another run later; one that is the file itself stays, as
    # the card is beside it.
    file = file.parent.resolve() / file.name
    card = read_card(file.with_suffix(".json"))
    try:
        digest = _sha256(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); copy it again") from None
    if card.sha256 != digest:
        raise InputError(
            f"{file}: its SHA-256 is {digest}, the card beside it was written for {card.sha256}; "
            "copy both files again, from one run"
        )
    _refuse_foreign_layers(file)
    return file, card


def _refuse_foreign_layers(file: Path) -> None:
    """Read the configuration in the file as data, and refuse references to code other than Keras's own."""
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"{file}: is not a .keras file ({error}); copy it again, or train a new model") from None
    foreign = {
        f"{node.get('module')}.{node['class_name']}"
        for node in nodes(config)
        if "class_name" in node and not _is_stock(node)
    }
    if foreign:
        raise InputError(f"{file}: contains {', '.join(sorted(foreign))}, expected only Keras's own layers; not loaded")


def _is_stock(node: Node) -> bool:
    module = node.get("module")
    if node["class_name"] in {"Lambda", "__lambda__", "function", "__typespec__", "__numpy__"}:
        return False
    return module in {None, "builtins"} or module == "keras" or str(module).startswith("keras.")


def _words(shape: tuple[int, ...]) -> str:
    height, width, channels, classes = shape
    return f"{height} x {width} x {channels} to {classes} classes"


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
