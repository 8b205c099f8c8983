"""What the kernels of both backends have in common: how a model finds and calls them."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, cast

import keras

Layer = Any  # Keras has no types to check against

# From a layer, what it is called on and ``training`` to what the layer would return; None if it has a setting that the
# kernel does not support.
Kernel = Callable[[Layer, Any, bool | None], Any]
KernelTable = Mapping[type, Kernel]


class KernelModule(Protocol):
    """A module of kernels for one backend: ``jax_kernels`` or ``tensorflow_kernels``."""

    def table(self, batch_size: int | None) -> KernelTable:
        """Return the kernel of each kind of layer that has one, for batches of this size."""

    def worthwhile(self, layers_of_model: Iterable[Layer]) -> bool:
        """Return whether a model of these layers is faster with the kernels."""

    def stock_layout(self, value: Any) -> Any:
        """Return what a kernel returned as Keras's own layers read it, and any other value as it is."""


def kernels_of_backend() -> KernelModule:
    """Return the kernels for the backend in use; the other backend is not imported."""
    return cast(KernelModule, importlib.import_module(f"fashion.models.{keras.backend.backend()}_kernels"))
