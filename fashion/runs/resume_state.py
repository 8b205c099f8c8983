"""An unfinished run on disk: everything that the next epoch depends on.

Keras's BackupAndRestore forgets what EarlyStopping, ReduceLROnPlateau and the history knew, so a run that goes on with
it is another run. Here the state is complete: weights, moving statistics and random states, optimizer variables, every
callback's own variables, the history, the number of finished epochs. The order of the data needs no state (see
``fashion.data.batches``).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from fashion.config.resume_override import STATE_FILE, stored_about
from fashion.errors import InputError
from fashion.files import replacing


class State(NamedTuple):
    """An unfinished run, as read back.

    Attributes:
        epochs: How many are finished.
        stopped: Whether a callback had ended the training.
        history: Metric name to its value after each finished epoch.
        config: The resolved configuration the run was started with.
        seconds: Time spent training so far.
        callbacks: Each callback's plain values.
        arrays: Weights and all other arrays, by name.
    """

    epochs: int
    stopped: bool
    history: dict[str, list[float]]
    config: dict[str, Any]
    seconds: float
    callbacks: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]


def save(
    folder: Path,
    model: keras.Model,
    callbacks: Iterable[keras.callbacks.Callback],
    *,
    epochs: int,
    history: dict[str, list[float]],
    config: dict[str, Any],
    seconds: float,
) -> None:
    """Write the state at the end of an epoch, whole or not at all.

    Raises:
        InputError: When it cannot be written; the state of the epoch before is intact.
    """
    arrays = _variables(model)
    plain_values = []
    for index, callback in enumerate(callbacks):
        plain, lists = _callback_state(callback)
        plain_values.append(plain)
        for name, values in lists.items():
            arrays |= {f"callback/{index}/{name}/{item:04d}": value for item, value in enumerate(values)}
    about = {
        "epochs": epochs,
        "stopped": bool(model.stop_training),
        "history": history,
        "config": config,
        "seconds": seconds,
        "callbacks": plain_values,
    }
    with replacing(folder / STATE_FILE) as partial:
        np.savez(partial, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def load(folder: Path) -> State | None:
    """Read the state back; None when the run ended before its first epoch did.

    Raises:
        InputError: When the file is damaged.
    """
    about = stored_about(folder)
    if about is None:
        return None
    with np.load(folder / STATE_FILE, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "about"}
    return State(**about, arrays=arrays)


def restore(state: State, model: keras.Model, callbacks: Iterable[keras.callbacks.Callback]) -> None:
    """Put a state into a compiled model and its callbacks, after ``on_train_begin`` has reset them.

    Raises:
        InputError: When the state is of another network or optimizer.
    """
    targets = _named_variables(model)
    for name, variable in targets.items():
        value = state.arrays.get(name)
        if value is None or value.shape != tuple(variable.shape):
            raise InputError(f"resume: {name} of the stored run does not fit this network; use its own configuration")
        variable.assign(value)
    for index, (callback, plain) in enumerate(zip(callbacks, state.callbacks, strict=True)):
        vars(callback).update(plain)
        prefix = f"callback/{index}/"
        lists: dict[str, list[np.ndarray]] = {}
        for name in sorted(name for name in state.arrays if name.startswith(prefix)):
            lists.setdefault(name.split("/")[2], []).append(state.arrays[name])
        vars(callback).update(lists)


def _named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    named = {f"model/{index:04d}": variable for index, variable in enumerate(model.variables)}
    named |= {f"optimizer/{index:04d}": variable for index, variable in enumerate(model.optimizer.variables)}
    return named


def _variables(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in _named_variables(model).items()}


def _callback_state(callback: keras.callbacks.Callback) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """Split a callback's variables into plain values and lists of arrays; what it was configured with is among them."""
    plain: dict[str, Any] = {}
    lists: dict[str, list[np.ndarray]] = {}
    for name, value in vars(callback).items():
        if isinstance(value, np.generic):
            plain[name] = value.item()
        elif value is None or isinstance(value, bool | int | float):  # no texts: they are paths, and folders move
            plain[name] = value
        elif isinstance(value, list) and value and all(isinstance(item, np.ndarray) for item in value):
            lists[name] = value
    return plain, lists
