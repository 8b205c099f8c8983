"""``resume.npz``: everything that the next epoch of an unfinished run depends on.

Keras's BackupAndRestore loses the state of EarlyStopping, ReduceLROnPlateau and the history, so a run that it resumes
ends with other weights. Here the state is complete: weights, moving statistics and random states, optimizer variables,
every callback's own variables, the history, the number of finished epochs. The order of the data needs no state of its
own (see ``fashion.data.batches``).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pydantic

from fashion.config.nodes import ResolvedConfig
from fashion.errors import InputError

if TYPE_CHECKING:  # a configuration is compared with a stored one before Keras is on its backend
    import keras

PlainValue = bool | int | float | None


class TrainingProgress(pydantic.BaseModel):
    """How far an unfinished run is.

    Attributes:
        epochs: How many are finished.
        stopped: Whether a callback had ended the training.
        history: Metric name to its value after each finished epoch.
        config: The resolved configuration the run was started with.
        seconds: Time spent training so far.
        callbacks: Each callback's plain values, by name.
    """

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    epochs: int
    stopped: bool
    history: dict[str, list[float]]
    config: ResolvedConfig
    seconds: float
    callbacks: list[dict[str, PlainValue]]


class ResumeState(NamedTuple):
    """An unfinished run after its last finished epoch.

    Attributes:
        progress: All that is not an array.
        arrays: Weights, optimizer variables and the callbacks' arrays, by name.
    """

    progress: TrainingProgress
    arrays: dict[str, np.ndarray]


def capture(
    model: "keras.Model",
    callbacks: "Iterable[keras.callbacks.Callback]",
    *,
    epochs: int,
    history: dict[str, list[float]],
    config: ResolvedConfig,
    seconds: float,
) -> ResumeState:
    """Copy the state of a model and its callbacks at the end of an epoch; see ``TrainingProgress``."""
    arrays = {name: variable.numpy() for name, variable in _named_variables(model).items()}
    plain_values = []
    for index, callback in enumerate(callbacks):
        plain, lists = _callback_state(callback)
        plain_values.append(plain)
        for name, values in lists.items():
            arrays |= {f"callback/{index}/{name}/{item:04d}": value for item, value in enumerate(values)}
    progress = TrainingProgress(
        epochs=epochs,
        stopped=bool(model.stop_training),
        history=history,
        config=config,
        seconds=seconds,
        callbacks=plain_values,
    )
    return ResumeState(progress, arrays)


def restore(state: ResumeState, model: "keras.Model", callbacks: "Iterable[keras.callbacks.Callback]") -> None:
    """Load a state into a compiled model and its callbacks, after ``on_train_begin`` has reset them.

    Raises:
        InputError: When the state is of another network or optimizer.
    """
    for name, variable in _named_variables(model).items():
        value = state.arrays.get(name)
        if value is None or value.shape != tuple(variable.shape):
            raise InputError(f"resume: {name} of the stored run does not fit this network; use its own configuration")
        variable.assign(value)
    for index, (callback, plain) in enumerate(zip(callbacks, state.progress.callbacks, strict=True)):
        vars(callback).update(plain)
        prefix = f"callback/{index}/"
        lists: dict[str, list[np.ndarray]] = {}
        for name in sorted(name for name in state.arrays if name.startswith(prefix)):
            lists.setdefault(name.split("/")[2], []).append(state.arrays[name])
        vars(callback).update(lists)


def _named_variables(model: "keras.Model") -> "dict[str, keras.Variable]":
    named = {f"model/{index:04d}": variable for index, variable in enumerate(model.variables)}
    return named | {f"optimizer/{index:04d}": variable for index, variable in enumerate(model.optimizer.variables)}


def _callback_state(
    callback: "keras.callbacks.Callback",
) -> tuple[dict[str, PlainValue], dict[str, list[np.ndarray]]]:
    """Split a callback's variables, its settings among them, into plain values and lists of arrays."""
    plain: dict[str, PlainValue] = {}
    lists: dict[str, list[np.ndarray]] = {}
    for name, value in vars(callback).items():
        if isinstance(value, np.generic):
            plain[name] = value.item()
        elif value is None or isinstance(value, bool | int | float):  # no strings: they are paths, and folders move
            plain[name] = value
        elif isinstance(value, list) and value and all(isinstance(item, np.ndarray) for item in value):
            lists[name] = value
    return plain, lists
