"""The routes that SageMaker and Vertex AI ask, which exist only for them and need no log-in."""

import base64
import json
import re

import numpy as np
import pytest
from serving import ADMIN, png

from fashion.errors import InputError
from fashion.server import environment
from fashion.server.serving_settings import PLATFORM_DEFAULTS, add_environment
from fashion.server.settings import MAX_BATCH_FILES, MAX_BODY_BYTES

IMAGE = png(np.arange(784, dtype=np.uint8).reshape(28, 28))
OTHER = png(np.arange(784, dtype=np.uint8).reshape(28, 28).T)
VERTEX_PREDICT = "/v1/endpoints/1/deployedModels/2:predict"


def encoded(*contents: bytes) -> dict:
    return {"instances": [{"b64": base64.b64encode(content).decode()} for content in contents]}


def without_id(answer: dict) -> dict:
    return {name: value for name, value in answer.items() if name != "request_id"}


@pytest.fixture
def sagemaker(make_app):
    return make_app(platform="sagemaker").test_client()


@pytest.fixture
def vertex(make_app, monkeypatch):
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/health")
    monkeypatch.setenv("AIP_PREDICT_ROUTE", VERTEX_PREDICT)
    return make_app(platform="vertex").test_client()


@pytest.fixture
def predicted(post):
    """What /predict answers to an image."""
    return lambda content: without_id(post(content).json)


def test_without_a_platform_its_routes_do_not_exist(client):
    assert client.get("/ping").status_code == 404
    for headers in ({}, ADMIN):
        answer = client.post("/invocations", data=IMAGE, content_type="image/png", headers=headers)
        assert answer.status_code == 404


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "image/webp", "application/x-image"])
def test_the_body_of_an_invocation_is_an_image(sagemaker, predicted, kind):
    answer = sagemaker.post("/invocations", data=IMAGE, content_type=kind)
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert without_id(answer.json) == predicted(IMAGE)


def test_instances_are_answered_in_order_with_errors_in_their_place(vertex, post):
    asked = encoded(IMAGE, b"no image", OTHER)
    asked["instances"].insert(1, {"b64": "no base64"})
    answer = vertex.post(VERTEX_PREDICT, json={**asked, "parameters": {"any": 1}})
    assert answer.status_code == 200
    assert list(answer.json) == ["predictions"]
    first, no_base64, no_image, other = answer.json["predictions"]
    batch = post(IMAGE, OTHER, path="/predict/batch").json
    expected = [{**result, "model": batch["model"]} for result in batch["results"]]
    assert [without_id(first), without_id(other)] == expected
    assert no_base64["problem"]["status"] == 400
    assert no_image["problem"]["status"] == 415


def test_the_same_json_is_accepted_by_sagemaker(sagemaker, predicted):
    (prediction,) = sagemaker.post("/invocations", json=encoded(IMAGE)).json["predictions"]
    assert without_id(prediction) == predicted(IMAGE)


def test_tensors_are_answered_as_by_the_open_inference_protocol(sagemaker):
    pixels = np.arange(784).reshape(1, 28, 28) % 256
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 28, 28], "data": pixels.tolist()}
    answer = sagemaker.post("/invocations", json={"inputs": [tensor]})
    asked = sagemaker.post("/v2/models/fashion_mnist/infer", json={"inputs": [tensor]}, headers=ADMIN)
    assert answer.status_code == asked.status_code == 200
    assert answer.json == asked.json
    refused = sagemaker.post("/invocations", json={"inputs": [{**tensor, "shape": [1, 27, 28]}]})
    assert refused.status_code == refused.json["status"] == 400


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/png", 400),
        (b"no image", "image/png", 415),
        (IMAGE[:60], "image/png", 422),
        (IMAGE, "text/csv", 415),
        (IMAGE, None, 415),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"instances": []}', "application/json", 400),
        (b'{"instances": [{"image": "x"}]}', "application/json", 400),
        (json.dumps(encoded(*[b"x"] * (MAX_BATCH_FILES + 1))).encode(), "application/json", 400),
        (bytes(MAX_BODY_BYTES + 1), "image/png", 413),
    ],
)
def test_other_bodies_are_refused(sagemaker, body, kind, status):
    answer = sagemaker.post("/invocations", data=body, content_type=kind)
    assert answer.status_code == status
    assert answer.json["status"] == status


def test_it_is_as_busy_as_predict(make_app):
    app = make_app(platform="sagemaker", threads=1, queue=0)
    with app.services.admission.admit():
        for body in ({"data": IMAGE, "content_type": "image/png"}, {"json": encoded(IMAGE)}):
            answer = app.test_client().post("/invocations", **body)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]


def test_health_is_readiness(sagemaker, vertex, served_model):
    assert sagemaker.get("/ping").status_code == vertex.get("/health").status_code == 200
    served_model.stopping.set()
    try:
        assert sagemaker.get("/ping").status_code == vertex.get("/health").status_code == 503
    finally:
        served_model.stopping.clear()


def test_everything_else_still_needs_an_account(sagemaker):
    assert sagemaker.post("/predict").status_code == 401
    assert sagemaker.post("/predict/batch").status_code == 401
    assert sagemaker.post("/v2/models/fashion_mnist/infer").status_code == 401
    assert sagemaker.get("/history").status_code == 303


def test_a_browser_of_another_site_is_refused(sagemaker):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert sagemaker.post("/invocations", json=encoded(IMAGE), headers=headers).status_code == 403


def test_vertex_may_ask_the_path_of_another_view(make_app, monkeypatch):
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/predict")
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/predict")
    client = make_app(platform="vertex").test_client()
    assert client.get("/predict").status_code == 200
    assert list(client.post("/predict", json=encoded(IMAGE)).json) == ["predictions"]
    described = client.get("/openapi.json").json["paths"]["/predict"]
    assert set(described) == {"get", "post"}
    assert described["post"]["security"] == [{}]


def test_the_description_includes_the_routes(vertex):
    document = vertex.get("/openapi.json").json
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in vertex.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.endpoint.startswith("platform.")
    }
    assert served == {("GET", "/health"), ("POST", VERTEX_PREDICT)}
    for method, path in served:
        assert method.lower() in document["paths"][path]
    assert document["paths"]["/predict"]["post"]["security"] == [{"basic": []}, {"bearer": []}]


@pytest.mark.parametrize("route", [None, "", "predict", "/v1/<name>", "/a b", "/a/"])
def test_a_route_of_vertex_that_is_no_path_is_one_line(monkeypatch, route):
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/health")
    monkeypatch.delenv("AIP_PREDICT_ROUTE", raising=False)
    if route is not None:
        monkeypatch.setenv("AIP_PREDICT_ROUTE", route)
    with pytest.raises(InputError, match=r"^AIP_PREDICT_ROUTE: .*expected a path such as /v1/predict"):
        environment.platform_routes("vertex")


def test_a_platform_implies_an_address_that_anything_else_changes(monkeypatch):
    monkeypatch.setenv("AIP_HTTP_PORT", "81")
    assert add_environment([]) == []
    assert add_environment(["server.platform=sagemaker"]) == [*PLATFORM_DEFAULTS, "server.platform=sagemaker"]
    port = "server.port=${environment:AIP_HTTP_PORT}"
    assert add_environment(["server.platform=vertex"]) == [*PLATFORM_DEFAULTS, port, "server.platform=vertex"]
    monkeypatch.setenv("FASHION_PLATFORM", "sagemaker")
    assert add_environment([])[:2] == PLATFORM_DEFAULTS
    assert PLATFORM_DEFAULTS[0] not in add_environment(["server.platform=null"])
