"""The Open Inference Protocol."""

import json

import numpy as np
import pytest
from serving import ADMIN, CLASSES

URL = "/v2/models/fashion_mnist/infer"
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
FLOATS = (IMAGES.astype(np.float32) / 255)[..., np.newaxis]


def tensor(data, shape, datatype="FP32", **other):
    return {"inputs": [{"name": "images", "shape": list(shape), "datatype": datatype, "data": data, **other}]}


@pytest.mark.parametrize(
    "asked",
    [
        tensor(FLOATS.tolist(), FLOATS.shape),
        tensor(FLOATS.ravel().tolist(), FLOATS.shape),
        tensor(IMAGES.tolist(), IMAGES.shape, "UINT8"),
        tensor(IMAGES.ravel().tolist(), IMAGES.shape, "UINT8"),
        tensor(IMAGES.tolist(), IMAGES.shape, "UINT8", parameters={"x": 1}),
        {**tensor(IMAGES.tolist(), IMAGES.shape, "UINT8"), "outputs": [{"name": "probabilities"}]},
    ],
    ids=["float nested", "float flat", "bytes nested", "bytes flat", "parameters", "outputs"],
)
def test_tensors_give_the_offline_probabilities(client, served_model, asked):
    answer = client.post(URL, json={**asked, "id": "7"}, headers=ADMIN)
    assert answer.status_code == 200
    assert {key: answer.json[key] for key in ("id", "model_name", "model_version")} == {
        "id": "7", "model_name": "fashion_mnist", "model_version": served_model.version,
    }  # fmt: skip
    (output,) = answer.json["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [3, 10])
    expected = served_model.probabilities(IMAGES)
    assert np.array_equal(np.array(output["data"], np.float32).reshape(3, 10), expected)


def test_metadata(client):
    assert client.get("/v2").json == {"name": "fashion", "version": "2", "extensions": []}
    metadata = client.get("/v2/models/fashion_mnist").json
    assert metadata["name"] == "fashion_mnist"
    assert metadata["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 28, 28, 1]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, len(CLASSES)]}]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}


ONE = [[[0.5] * 28] * 28]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "body: Invalid JSON"),
        (b"[" * 100_000, "body: Invalid JSON"),
        (b"{}", "inputs: Field required"),
        (b'{"inputs": []}', "inputs: List should have at least 1 item"),
        (tensor(ONE, [1, 28, 28]), "inputs.0.shape: got [1, 28, 28], expected [n, 28, 28, 1]"),
        (tensor(ONE, [1, 28, 28, 1], "UINT8"), "inputs.0.shape: got [1, 28, 28, 1], expected [n, 28, 28]"),
        (tensor(ONE, [513, 28, 28, 1]), "inputs.0.shape.0: Input should be less than or equal to 512"),
        (tensor(ONE, [0, 28, 28, 1]), "inputs.0.shape.0: Input should be greater than or equal to 1"),
        (tensor([0.5], [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([[0.5], 1], [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor(["0"] * 784, [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([True] * 784, [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([10**400] * 784, [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([None] * 784, [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([1.5] * 784, [1, 28, 28, 1]), "inputs.0.data: expected numbers from 0 to 1"),
        (tensor([float("nan")] * 784, [1, 28, 28, 1]), "inputs.0.data: expected numbers from 0 to 1"),
        (tensor([256] * 784, [1, 28, 28], "UINT8"), "inputs.0.data: expected whole numbers from 0 to 255"),
        (tensor([0.5] * 784, [1, 28, 28], "UINT8"), "inputs.0.data: expected whole numbers from 0 to 255"),
        (tensor(ONE, [1, 28, 28, 1], "FP16"), "inputs.0.datatype: Input should be 'FP32' or 'UINT8'"),
        ({**tensor(ONE, [1, 28, 28, 1]), "outputs": [{"name": "x"}]}, "outputs.0.name: Input should be"),
    ],
)
def test_errors_are_those_of_the_protocol(client, body, error):
    data = body if isinstance(body, bytes) else json.dumps(body)
    answer = client.post(URL, data=data, content_type="application/json", headers=ADMIN)
    assert answer.status_code == 400
    assert list(answer.json) == ["error"]
    assert answer.json["error"].startswith(error)


def test_other_bodies_and_models_are_refused(client):
    assert client.post(URL, data=b"x", headers=ADMIN).status_code == 415
    assert list(client.get("/v2/models/other").json) == ["error"]
