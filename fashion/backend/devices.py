"""What Keras, already running on a backend, computes on."""

import importlib

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
