"""NVIDIA's own client of Triton, ``tritonclient``, against the server in processes of its own."""

import asyncio

import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
from serving import ADMIN, CLASSES
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.http.auth import BasicAuth
from tritonclient.utils import InferenceServerException

MODEL = "fashion_mnist"
BYTES = np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8)
FLOATS = (BYTES.astype(np.float32) / 255)[..., np.newaxis]


@pytest.fixture
def triton(server):
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        client.register_plugin(BasicAuth("admin", "password"))
        yield client


def images(array: np.ndarray, **how) -> list[InferInput]:
    tensor = InferInput("images", list(array.shape), {np.uint8: "UINT8", np.float32: "FP32"}[array.dtype.type])
    return [tensor.set_data_from_numpy(array, **how)]


@pytest.mark.parametrize("array", [BYTES, FLOATS], ids=["UINT8", "FP32"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
@pytest.mark.parametrize("outputs", [None, True, False], ids=["any output", "binary output", "JSON output"])
def test_infer_returns_the_offline_probabilities(triton, served_model, array, binary, outputs):
    wanted = None if outputs is None else [InferRequestedOutput("probabilities", binary_data=outputs)]
    result = triton.infer(MODEL, images(array, binary_data=binary), outputs=wanted, request_id="7")
    assert result.get_response()["id"] == "7"
    assert result.get_response()["model_version"] == served_model.version
    probabilities = result.as_numpy("probabilities")
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities, served_model.probabilities(BYTES[..., np.newaxis]), atol=1e-6)
    assert ("data" in result.get_output("probabilities")) == (outputs is False)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(triton, algorithm):
    plain = triton.infer(MODEL, images(BYTES)).as_numpy("probabilities")
    compressed = triton.infer(
        MODEL,
        images(BYTES),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert np.array_equal(compressed.as_numpy("probabilities"), plain)


def test_a_request_that_decompresses_to_more_than_a_body_may_be_is_refused(triton):
    zeros = InferInput("images", [512, 28, 28, 1], "FP32")
    zeros.set_data_from_numpy(np.zeros((512, 28, 28, 1), np.float32), binary_data=False)
    zeros._data = zeros._data * 4
    with pytest.raises(InferenceServerException, match="too large") as refused:
        triton.infer(MODEL, [zeros], request_compression_algorithm="gzip")
    assert refused.value.status() == "413"


def test_the_model_is_asked_for_by_the_version_that_its_metadata_lists(triton, served_model):
    (version,) = triton.get_model_metadata(MODEL)["versions"]
    assert version == served_model.version
    assert triton.is_model_ready(MODEL, version)
    assert triton.get_model_metadata(MODEL, version) == triton.get_model_metadata(MODEL)
    result = triton.infer(MODEL, images(BYTES[:1]), model_version=version)
    assert result.as_numpy("probabilities").shape == (1, 10)
    assert not triton.is_model_ready(MODEL, "1")
    with pytest.raises(InferenceServerException, match=f"The model is served in version {version} only"):
        triton.infer(MODEL, images(BYTES[:1]), model_version="1")


def test_the_server_describes_itself(triton):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(MODEL)
    assert not triton.is_model_ready("other")
    assert {"binary_tensor_data", "classification"} <= set(triton.get_server_metadata()["extensions"])
    config = triton.get_model_config(MODEL)
    assert config["max_batch_size"] == 512
    assert config["input"] == [{"name": "images", "data_type": "TYPE_FP32", "dims": [28, 28, 1]}]
    assert config["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [len(CLASSES)]}]
    triton.infer(MODEL, images(np.zeros((512, 28, 28), np.uint8)))


@pytest.mark.parametrize("binary", [True, False])
def test_class_count_returns_the_most_probable_classes(triton, served_model, binary):
    wanted = [InferRequestedOutput("probabilities", binary_data=binary, class_count=3)]
    answered = triton.infer(MODEL, images(BYTES), outputs=wanted).as_numpy("probabilities")
    assert answered.shape == (60, 3)
    for texts, row in zip(answered, served_model.probabilities(BYTES[..., np.newaxis]), strict=True):
        best = np.argsort(-row)[:3]
        parts = [(text if isinstance(text, str) else text.decode()).split(":") for text in texts]
        assert [(int(index), name) for _, index, name in parts] == [(index, CLASSES[index]) for index in best]
        assert np.allclose([float(value) for value, _, _ in parts], row[best], atol=1e-5)


def test_requests_at_the_same_time(triton):
    waiting = [triton.async_infer(MODEL, images(BYTES[number : number + 1])) for number in range(10)]
    assert {request.get_result().as_numpy("probabilities").shape for request in waiting} == {(1, 10)}


def test_errors_reach_the_client(server, triton):
    with pytest.raises(InferenceServerException, match=r"inputs.0.shape: got \[1, 14, 14\]"):
        triton.infer(MODEL, images(BYTES[:1, :14, :14]))
    with pytest.raises(InferenceServerException, match="shared memory is not read"):
        triton.infer(MODEL, [InferInput("images", [1, 28, 28], "UINT8").set_shared_memory("region", 784)])
    with (
        tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}") as stranger,
        pytest.raises(InferenceServerException) as refused,
    ):
        stranger.infer(MODEL, images(BYTES[:1]))
    assert refused.value.status() == "401"


def test_the_asynchronous_client(server, served_model):
    async def infer() -> list[np.ndarray]:
        async with tritonclient.http.aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            requests = (
                client.infer(
                    MODEL,
                    images(BYTES, binary_data=binary),
                    headers=dict(ADMIN),
                    request_compression_algorithm=algorithm,
                    response_compression_algorithm=algorithm,
                )
                for binary in (True, False)
                for algorithm in (None, "gzip", "deflate")
            )
            return [result.as_numpy("probabilities") for result in await asyncio.gather(*requests)]

    expected = served_model.probabilities(BYTES[..., np.newaxis])
    for probabilities in asyncio.run(infer()):
        assert np.allclose(probabilities, expected, atol=1e-6)
