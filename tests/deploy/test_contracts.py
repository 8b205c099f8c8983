"""The image under the contracts of platforms: each starts it in its own way, and asks its own paths."""

import base64
import json

import numpy as np
import pytest
from containers import ADMIN
from services import free_port
from serving import basic
from tritonclient.http import InferenceServerClient, InferInput

from fashion import artifact
from fashion.paths import PRETRAINED

EXAMPLE = artifact.verify(PRETRAINED)[1].examples[0]
MODEL = f"--volume={PRETRAINED}:/opt/ml/model:ro"


@pytest.fixture(scope="module")
def plain(start_container, password_file):
    """As Cloud Run, App Runner and KServe start it: a port in PORT, and no volume of its own."""
    return start_container(options=password_file).wait_for()


def test_cloud_run_reaches_it_at_the_port_of_its_variable(plain):
    """https://cloud.google.com/run/docs/container-contract; SIGTERM is in test_image.py."""
    assert plain.request("/livez").status == 200
    assert plain.request("/").status in {200, 303}  # the page asks browsers to log in
    assert plain.predict(EXAMPLE.content, ADMIN).json["predicted_class"] == EXAMPLE.label
    assert plain.predict(EXAMPLE.content, basic("admin", "wrong")).status == 401
    assert f"0.0.0.0:{plain.port}" in plain.log()


def test_kserve_asks_the_open_inference_protocol(plain):
    """https://github.com/kserve/open-inference-protocol, by the client that NVIDIA publishes for it."""
    with InferenceServerClient(f"127.0.0.1:{plain.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("fashion_mnist")
        described = client.get_model_metadata("fashion_mnist", headers=ADMIN)["inputs"][0]
        pixels = np.zeros((2, *described["shape"][1:]), np.float32)
        tensor = InferInput(described["name"], pixels.shape, described["datatype"])
        tensor.set_data_from_numpy(pixels)
        answer = client.infer("fashion_mnist", [tensor], headers=ADMIN)
        output = answer.get_response()["outputs"][0]["name"]
        assert np.allclose(answer.as_numpy(output).sum(axis=1), 1, atol=1e-4)


def test_sagemaker_starts_it_with_an_argument_and_removes_the_log_in(start_container):
    """https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html; the model is its own."""
    container = start_container(
        "serve", options=(MODEL,), FASHION_PLATFORM="sagemaker", FASHION_ARTIFACT="/opt/ml/model"
    ).wait_for("/ping")
    answer = container.request("/invocations", EXAMPLE.content, {"Content-Type": "application/x-image"})
    assert (answer.status, answer.json["predicted_class"]) == (200, EXAMPLE.label)
    assert container.predict(EXAMPLE.content, {}).status == 401
    assert "/invocations are open without a log-in" in container.log()


def test_vertex_ai_names_the_port_and_the_paths(start_container):
    """https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements."""
    port = free_port()
    container = start_container(
        port=port,
        PORT=free_port(),  # the image's own, which Vertex AI's wins over
        FASHION_PLATFORM="vertex",
        AIP_HTTP_PORT=port,
        AIP_HEALTH_ROUTE="/v1/health",
        AIP_PREDICT_ROUTE="/v1/endpoints/1:predict",
    ).wait_for("/v1/health")
    instances = {"instances": [{"b64": base64.b64encode(EXAMPLE.content).decode()}]}
    body = json.dumps(instances).encode()
    answer = container.request("/v1/endpoints/1:predict", body, {"Content-Type": "application/json"})
    assert [each["predicted_class"] for each in answer.json["predictions"]] == [EXAMPLE.label]
    assert container.request("/invocations", body, {"Content-Type": "application/json"}).status == 404
    assert container.execute("python", "deploy/probe.py").returncode == 0
