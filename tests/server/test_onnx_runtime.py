"""``server.runtime=onnx`` gives the answers of Keras, without Keras."""

import importlib.util
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from serving import ADMIN, form, png

from fashion import artifact
from fashion.exported import EXPORT_COMMAND
from fashion.inference import engine
from fashion.inference.engine import choose_runtime
from fashion.paths import PRETRAINED
from fashion.server.service.served_model import ServedModel

IMPORTED = re.compile(r"^import time:.*\| +([\w.]+)$", re.MULTILINE)
NEEDLESS = {"jax", "jaxlib", "keras", "matplotlib", "onnx", "optuna", "tensorflow", "tf2onnx"}


@pytest.fixture(scope="module")
def models(keras_backend) -> dict[str, ServedModel]:
    loaded = {runtime: ServedModel(PRETRAINED, keras_backend, runtime) for runtime in ("keras", "onnx")}
    for model in loaded.values():
        model.load()
    return loaded


def uploads(model: ServedModel) -> dict[str, bytes]:
    """An example, a photo whose object is segmented, and a product on a white background."""
    random = np.random.default_rng(0)
    photo = Image.fromarray(random.integers(90, 140, (300, 240, 3), np.uint8)).filter(ImageFilter.GaussianBlur(2))
    trousers = [(60, 60), (180, 60), (170, 250), (130, 250), (120, 120), (110, 250), (70, 250)]
    ImageDraw.Draw(photo).polygon(trousers, "navy")
    product = Image.new("RGB", (200, 260), "white")
    ImageDraw.Draw(product).rectangle((60, 40, 140, 220), (30, 30, 90))
    return {"example": model.card.examples[0].content, "photo": png(photo), "product": png(product)}


def test_all_answers_are_those_of_keras(models, make_app):
    clients = {runtime: make_app(model).test_client() for runtime, model in models.items()}
    for name, content in uploads(models["onnx"]).items():
        body, kind = form(("file", content))
        send = {"data": body, "content_type": kind}
        keras, onnx = (client.post("/predict", headers=ADMIN, **send).json for client in clients.values())
        for answer in (keras, onnx):
            del answer["request_id"]
        assert ("photo" in name) == any("segmented" in step for step in keras["preprocessing"]["steps"])
        probabilities = [list(answer.pop("probabilities").values()) for answer in (keras, onnx)]
        assert np.allclose(*probabilities, atol=1e-4), name
        scores = [answer["abstention"].pop("score") for answer in (keras, onnx)]
        assert np.allclose(*scores, atol=1e-3), name
        assert [keras.pop("confidence")] == pytest.approx([onnx.pop("confidence")], abs=1e-4)
        assert keras == onnx, name
        browser = {**ADMIN, "Accept": "text/html"}
        pages = [client.post("/predict", headers=browser, **send).text for client in clients.values()]
        assert re.findall(r"[\d.]+ %", pages[0]) == re.findall(r"[\d.]+ %", pages[1]), name


def test_occlusion_and_tensors_agree(models, make_app):
    image = np.random.default_rng(1).random((1, 28, 28, 1)).astype(np.float32)
    tensor = {"name": "images", "datatype": "FP32", "shape": image.shape, "data": image.ravel().tolist()}
    answers = []
    for model in models.values():
        client = make_app(model).test_client()
        answer = client.post("/v2/models/fashion_mnist/infer", json={"inputs": [tensor]}, headers=ADMIN).json
        answers.append(answer["outputs"][0]["data"])
        assert client.get("/v2/models/fashion_mnist").json["platform"] == model.platform
    assert np.allclose(*answers, atol=1e-4)
    assert models["onnx"].platform != models["keras"].platform


def choice(folder) -> tuple[str, str]:
    return choose_runtime(*artifact.verify(folder))


def test_auto_is_onnx_runtime_for_a_model_with_a_current_export(small_artifact, tmp_path, monkeypatch):
    assert choice(PRETRAINED) == ("onnx", "fashion_mnist_model.onnx")
    runtime, reason = choice(small_artifact)
    assert runtime == "keras"
    assert reason.endswith(
        f"there is no such file; export the model: {EXPORT_COMMAND} format=onnx artifact={small_artifact}"
    )
    recalibrated = shutil.copytree(PRETRAINED, tmp_path / "recalibrated")
    card = json.loads((recalibrated / "fashion_mnist_model.json").read_text())
    card["calibration"]["temperature"] += 0.1
    (recalibrated / "fashion_mnist_model.json").write_text(json.dumps(card))
    runtime, reason = choice(recalibrated)
    assert runtime == "keras"
    assert "was made from another model" in reason
    with monkeypatch.context() as patch:
        patch.setattr(engine, "find_gpu", lambda: ("Some GPU", 9.0))
        assert choice(PRETRAINED) == ("keras", "Some GPU is available")
    find_spec = importlib.util.find_spec
    for missing, expected in (("onnxruntime", "keras"), ("keras", "onnx")):
        with monkeypatch.context() as patch:
            patch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))  # noqa: B023
            runtime, reason = choice(PRETRAINED)
        assert runtime == expected
        assert "is not installed" in reason


@pytest.mark.process
def test_the_server_says_what_it_chose_and_why(start_server):
    server = start_server(f"artifact={PRETRAINED}").wait_until_ready()
    assert server.lines("server.runtime=auto: onnx (fashion_mnist_model.onnx)")
    answer = server.request("/v2/models/fashion_mnist", headers=ADMIN)
    assert answer.json["platform"] == "onnxruntime_onnx"


@pytest.mark.process
def test_the_server_imports_neither_keras_nor_its_backends(start_server, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # both processes then log each import
    server = start_server(f"artifact={PRETRAINED}", "server.runtime=onnx").wait_until_ready()
    assert server.predict(png(np.arange(784, dtype=np.uint8).reshape(28, 28))).status == 200
    imported = {name.partition(".")[0] for name in IMPORTED.findall(server.log())}
    assert {"fashion", "flask", "onnxruntime"} <= imported
    assert imported & NEEDLESS == set()


@pytest.mark.process
def test_a_model_that_was_not_exported_is_one_line(run_command, small_artifact):
    ended = run_command("serve.py", f"artifact={small_artifact}", "server.runtime=onnx", "server.port=0")
    assert ended.returncode == 2
    *_, line = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(f"export the model: python scripts/export.py format=onnx artifact={small_artifact}")
