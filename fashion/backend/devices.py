"""What Keras, already running on a backend, computes on."""

import contextlib
import importlib
from collections.abc import Iterator

from fashion.backend.imports import import_tensorflow


def on_cpu() -> bool:
    """Return whether Keras has only CPUs to compute on."""
    keras = importlib.import_module("keras")
    return all("cpu" in device.lower() for device in keras.distribution.list_devices())


def describe_devices() -> str:
    """Return the devices in one line: ``cpu:0``, or ``gpu:0 (NVIDIA H100 80GB HBM3)``."""
    keras = importlib.import_module("keras")
    names: list[str] = keras.distribution.list_devices()
    if on_cpu():
        return ", ".join(names)
    if keras.backend.backend() == "jax":
        models = [device.device_kind for device in importlib.import_module("jax").devices()]
    else:
        config = import_tensorflow().config
        accelerators = [each for each in config.list_physical_devices() if each.device_type != "CPU"]
        details = map(config.experimental.get_device_details, accelerators)
        models = [each.get("device_name", "unknown model") for each in details]
    return ", ".join(f"{name} ({model})" for name, model in zip(names, models, strict=True))


def own_devices() -> tuple[int, int]:
    """Return the positions of this process's devices in the list of all: from the first to before the second."""
    if importlib.import_module("keras").backend.backend() != "jax":
        return 0, 1
    jax = importlib.import_module("jax")
    own = [position for position, device in enumerate(jax.devices()) if device.process_index == jax.process_index()]
    return own[0], own[-1] + 1


@contextlib.contextmanager
def undistributed() -> Iterator[None]:
    """Let Keras make variables on one device of this process alone while the block runs."""
    distribution = importlib.import_module("keras").distribution
    current = distribution.distribution()
    distribution.set_distribution(None)
    try:
        yield
    finally:
        distribution.set_distribution(current)
