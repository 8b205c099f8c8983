"""The Open Inference Protocol."""

import gzip
import json
import tracemalloc
import zlib

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
    expected = served_model.probabilities(IMAGES[..., np.newaxis])
    assert np.array_equal(np.array(output["data"], np.float32).reshape(3, 10), expected)


def test_metadata(client):
    extensions = ["binary_tensor_data", "classification", "model_configuration"]
    assert client.get("/v2").json == {"name": "fashion", "version": "2", "extensions": extensions}
    metadata = client.get("/v2/models/fashion_mnist").json
    assert metadata["name"] == "fashion_mnist"
    assert metadata["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 28, 28, 1]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, len(CLASSES)]}]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}


ONE = [[[0.5] * 28] * 28]


def requesting(**parameters):
    return {
        **tensor(ONE, [1, 28, 28, 1]),
        "outputs": [{"name": "probabilities", "parameters": parameters}],
    }


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
        (tensor([0.5] * 783 + [True], [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([[0] * 28] * 27 + [[0] * 27], [1, 28, 28], "UINT8"), "inputs.0.data: expected 784 numbers"),
        (tensor([[0] * 784], [1, 28, 28], "UINT8"), "inputs.0.data: expected 784 numbers"),
        (tensor([[[[0]] * 28] * 28], [1, 28, 28], "UINT8"), "inputs.0.data: expected 784 numbers"),
        (tensor([[[0] * 28] * 28] * 2, [1, 28, 28], "UINT8"), "inputs.0.data: expected 784 numbers"),
        (tensor([], [1, 28, 28], "UINT8"), "inputs.0.data: expected 784 numbers"),
        (tensor([True] * 784, [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([10**400] * 784, [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([None] * 784, [1, 28, 28, 1]), "inputs.0.data: expected 784 numbers"),
        (tensor([1.5] * 784, [1, 28, 28, 1]), "inputs.0.data: expected numbers from 0 to 1"),
        (tensor([float("nan")] * 784, [1, 28, 28, 1]), "inputs.0.data: expected numbers from 0 to 1"),
        (tensor([256] * 784, [1, 28, 28], "UINT8"), "inputs.0.data: expected whole numbers from 0 to 255"),
        (tensor([0.5] * 784, [1, 28, 28], "UINT8"), "inputs.0.data: expected whole numbers from 0 to 255"),
        (tensor(ONE, [1, 28, 28, 1], "FP16"), "inputs.0.datatype: Input should be 'FP32' or 'UINT8'"),
        ({**tensor(ONE, [1, 28, 28, 1]), "outputs": [{"name": "x"}]}, "outputs.0.name: Input should be"),
        (tensor(None, [1, 28, 28, 1]), "inputs.0.data: expected numbers, or binary_data_size"),
        (requesting(classification=0), "outputs.0.parameters.classification: Input should be greater than or equal"),
        (requesting(classification=True), "outputs.0.parameters.classification: Input should be a valid integer"),
        (requesting(binary_data=1), "outputs.0.parameters.binary_data: Input should be a valid boolean"),
        ({**requesting(), "outputs": [{"name": "probabilities"}] * 2}, "outputs: List should have at most 1 item"),
    ],
)
def test_errors_are_those_of_the_protocol(client, body, error):
    data = body if isinstance(body, bytes) else json.dumps(body)
    answer = client.post(URL, data=data, content_type="application/json", headers=ADMIN)
    assert answer.status_code == 400
    assert list(answer.json) == ["error"]
    assert answer.json["error"].startswith(error)


@pytest.mark.parametrize(
    "data",
    [["x" * 50_000] + [""] * 783, ["x" * 2000] + [""] * 20_000, [["x" * 50_000] + [""] * 27] * 28],
    ids=["one", "many", "nested"],
)
def test_a_long_text_among_numbers_takes_no_memory_but_its_own(client, data):
    """As an array, each of the others would take as much as the longest."""
    body = json.dumps(tensor(data, [1, 28, 28], "UINT8")).encode()
    tracemalloc.start()
    answer = client.post(URL, data=body, content_type="application/json", headers=ADMIN)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 400
    assert answer.json["error"].startswith("inputs.0.data: expected 784 numbers")
    assert most < 16 * 2**20


def send(client, text: bytes | dict, binary: bytes = b"", length: object = "right", **headers: str):
    """Send JSON with bytes after it, and its length in the header."""
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    length = len(text) if length == "right" else length
    own = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    return client.post(URL, data=text + binary, headers={**ADMIN, **own, **headers})


def binary_tensor(size: object = 784, shape=(1, 28, 28), datatype="UINT8", **other):
    described = {"name": "images", "shape": list(shape), "datatype": datatype}
    return {"inputs": [{**described, "parameters": {"binary_data_size": size}, **other}]}


BODY = IMAGES[0].tobytes()
FLOAT = (1, 28, 28, 1), "FP32"
SIZE = "inputs.0.parameters.binary_data_size: "
LENGTH = "Inference-Header-Content-Length: expected the JSON's length in bytes, at most the body's "


@pytest.mark.parametrize(
    ("text", "binary", "length", "error"),
    [
        (binary_tensor(), BODY[:-1], "right", "body: 783 bytes follow the JSON, expected binary_data_size=784"),
        (binary_tensor(), BODY + b"x", "right", "body: 785 bytes follow the JSON, expected binary_data_size=784"),
        (binary_tensor(), b"", None, "body: 0 bytes follow the JSON, expected binary_data_size=784"),
        (binary_tensor(783), BODY[:-1], "right", SIZE + "got 783, expected 784"),
        (binary_tensor(784, *FLOAT), BODY, "right", SIZE + "got 784, expected 3136"),
        (binary_tensor(0), b"", "right", SIZE + "got 0, expected 784"),
        (binary_tensor(-784), BODY, "right", SIZE + "Input should be greater than or equal to 0"),
        (binary_tensor(784.5), BODY, "right", SIZE + "Input should be a valid integer"),
        (binary_tensor("784"), BODY, "right", SIZE + "Input should be a valid integer"),
        (binary_tensor(True), BODY, "right", SIZE + "Input should be a valid integer"),
        (binary_tensor(10**400), BODY, "right", SIZE + "got 1"),
        (binary_tensor(784, datatype="FP16"), BODY, "right", "inputs.0.datatype: Input should be 'FP32' or 'UINT8'"),
        (binary_tensor(data=[0]), BODY, "right", "inputs.0.data: expected none beside binary_data_size"),
        (tensor(IMAGES[:1].tolist(), (1, 28, 28), "UINT8"), b"x", "right", "body: 1 bytes follow the JSON, expected"),
        (
            binary_tensor(3136, *FLOAT),
            np.full(784, np.nan, "<f4").tobytes(),
            "right",
            "inputs.0.data: expected numbers",
        ),
        (binary_tensor(3136, *FLOAT), b"\1\0\x80\x7f" * 784, "right", "inputs.0.data: expected numbers from 0 to 1"),
        (binary_tensor(3136, *FLOAT), b"\xff" * 3136, "right", "inputs.0.data: expected numbers from 0 to 1"),
        (binary_tensor(), BODY, None, "body: Invalid JSON"),
        (binary_tensor(), BODY, 10, "body: Invalid JSON"),
        (b"{}", BODY, 787, LENGTH + "786"),
        (b"{}", BODY, 0, LENGTH + "786"),
        (b"{}", BODY, -2, LENGTH + "786"),
        (b"{}", BODY, "2.0", LENGTH + "786"),
        (b"{}", BODY, "two", LENGTH + "786"),
        (b"{}", BODY, "", LENGTH + "786"),
        (b"{}", BODY, "9" * 5000, LENGTH + "786"),
        (b"", b"", 0, LENGTH + "0"),
    ],
)
def test_malformed_binary_tensors_get_one_precise_error(client, text, binary, length, error):
    answer = send(client, text, binary, length)
    assert answer.status_code == 400
    assert answer.json["error"].startswith(error)


@pytest.mark.parametrize("kind", [None, "application/json", "application/octet-stream"])
def test_a_binary_tensor_is_read_whatever_the_content_type_says(client, served_model, kind):
    answer = send(client, binary_tensor(), BODY, **({"Content-Type": kind} if kind else {}))
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    (output,) = answer.json["outputs"]
    assert output["data"] == served_model.probabilities(IMAGES[:1, ..., np.newaxis])[0].tolist()


def test_binary_outputs_follow_the_json(client, served_model):
    asked = {**binary_tensor(), "parameters": {"binary_data_output": True}}
    answer = send(client, asked, BODY)
    assert answer.mimetype == "application/octet-stream"
    length = int(answer.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(answer.data[:length])["outputs"]
    assert output == {
        "name": "probabilities", "datatype": "FP32", "shape": [1, 10], "parameters": {"binary_data_size": 40},
    }  # fmt: skip
    assert answer.data[length:] == served_model.probabilities(IMAGES[:1, ..., np.newaxis]).astype("<f4").tobytes()
    own = {**asked, "outputs": [{"name": "probabilities", "parameters": {"binary_data": False}}]}
    assert send(client, own, BODY).mimetype == "application/json"


COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", COMPRESS)
def test_compressed_bodies(client, encoding):
    text = json.dumps({**tensor(IMAGES.tolist(), IMAGES.shape, "UINT8")}).encode()
    plain = send(client, text, length=None)

    def send_compressed(body: bytes, **headers: str):
        return send(client, body, length=None, **{"Content-Encoding": encoding, **headers})

    whole = COMPRESS[encoding](text)
    assert send_compressed(whole).json == plain.json
    large = send(client, binary_tensor(512 * 784, (512, 28, 28)), bytes(512 * 784), **{"Accept-Encoding": encoding})
    assert large.headers["Content-Encoding"] == encoding
    decompress = {"gzip": gzip.decompress, "deflate": zlib.decompress}[encoding]
    assert json.loads(decompress(large.data))["outputs"][0]["shape"] == [512, 10]
    damaged = f"The Content-Encoding is {encoding}, but the body is not a complete {encoding} stream."
    for body in (text, b"", whole[:-1], whole + b"x", whole[:20] + b"xxx" + whole[23:]):
        answer = send_compressed(body)
        assert (answer.status_code, answer.json["error"]) == (400, damaged)
    bomb = COMPRESS[encoding](bytes(100 * 2**20))
    assert len(bomb) < 200_000
    assert send_compressed(bomb).status_code == 413
    assert send_compressed(whole, **{"Content-Encoding": "br"}).status_code == 415
    assert send_compressed(whole, **{"Content-Encoding": "gzip, gzip"}).status_code == 415


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "identity, gzip;q=0.5"])
def test_a_response_is_only_compressed_for_clients_that_ask_for_it(client, accepted):
    answer = send(client, binary_tensor(512 * 784, (512, 28, 28)), bytes(512 * 784), **{"Accept-Encoding": accepted})
    assert "Content-Encoding" not in answer.headers
    assert len(answer.json["outputs"][0]["data"]) == 5120


def test_other_bodies_models_and_versions_are_refused(client, served_model):
    for kind in ("text/plain", "multipart/form-data; boundary=X", "application/x-www-form-urlencoded"):
        assert client.post(URL, data=b"x", content_type=kind, headers=ADMIN).status_code == 415
    assert list(client.get("/v2/models/other").json) == ["error"]
    for path in ("", "/ready", "/config"):
        versions = "/v2/models/fashion_mnist/versions"
        assert client.get(f"{versions}/{served_model.version}{path}").status_code == 200
        answer = client.get(f"{versions}/1{path}")
        assert answer.status_code == 404
        assert answer.json == {"error": f"The model is served in version {served_model.version} only."}
