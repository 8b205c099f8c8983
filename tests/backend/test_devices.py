from types import SimpleNamespace

import pytest

from fashion.backend.devices import describe_devices

GPUS = (("GPU", "H100"), ("GPU", "A100"))


@pytest.mark.backend
def test_a_gpu_is_named_beside_its_number(keras_backend, monkeypatch):
    assert describe_devices() == "cpu:0"
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["gpu:0", "gpu:1"])
    if keras_backend == "jax":
        monkeypatch.setattr("jax.devices", lambda: [SimpleNamespace(device_kind=kind) for kind in ("H100", "A100")])
    else:
        found = [SimpleNamespace(device_type=kind, name=name) for kind, name in (("CPU", ""), *GPUS)]
        monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda: found)
        monkeypatch.setattr(
            "tensorflow.config.experimental.get_device_details", lambda device: {"device_name": device.name}
        )
    assert describe_devices() == "gpu:0 (H100), gpu:1 (A100)"
