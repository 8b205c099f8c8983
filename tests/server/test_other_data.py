"""Models of other data than Fashion-MNIST, served as their cards say: in colour, with two classes or two hundred."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from serving import ADMIN, PIXELS_MEAN, form, other_card, png, small_network

from fashion import artifact
from fashion.inference.attribution import occlusion_sensitivity
from fashion.inference.predictor import Predictor
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.prepare import read_bytes
from fashion.server.api.tensors import max_images
from fashion.server.pages.overlay import highlight
from fashion.server.service.served_model import ServedModel

WIDE = InputSpec(height=40, width=56, channels=3, preprocessing="resize", fit="crop")
SQUARE = InputSpec(height=32, width=32, channels=3, preprocessing="resize")
RIGHT_TO_LEFT = "\u05d7\u05ea\u05d5\u05dc"
HOSTILE = [
    "<script>alert(1)</script>",
    "x" * 200,
    RIGHT_TO_LEFT,
    "\"quoted\" & 'single'",
    "na\u00efve \U0001f600",
]
MANY = [*HOSTILE, *(f"kind {number}" for number in range(195))]
PHOTO = png(Image.effect_noise((160, 120), 90).convert("RGB").transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95)
PAGE = {"Accept": "text/html"}


def served(folder, backend, spec, classes, **page) -> ServedModel:
    artifact.save(small_network(spec.shape, len(classes)), other_card(spec, classes, **page), folder)
    model = ServedModel(folder, backend)
    model.load()
    return model


@pytest.fixture(scope="module")
def two(keras_backend, tmp_path_factory) -> ServedModel:
    page = {"question": "Cat or dog?", "subject": "a photo of a pet", "limitations": ("It was trained on pets.",)}
    return served(tmp_path_factory.mktemp("two"), keras_backend, WIDE, ["cat", "dog"], **page)


@pytest.fixture(scope="module")
def many(keras_backend, tmp_path_factory) -> ServedModel:
    question, limitations = "What's <b>this</b>?", ('<img src=x onerror="alert(1)">',)
    return served(
        tmp_path_factory.mktemp("many"), keras_backend, SQUARE, MANY, question=question, limitations=limitations
    )


@pytest.fixture
def ask(make_app, sign_in):
    """A signed-in browser of a model's server, and its answer to a photo."""

    def send(model):
        client = make_app(model).test_client()
        sign_in(client)
        body, kind = form(("file", PHOTO))
        return client, client.post("/predict", data=body, content_type=kind, headers=PAGE).text

    return send


def predict(client, content=PHOTO, query=""):
    body, kind = form(("file", content))
    answer = client.post(f"/predict{query}", data=body, content_type=kind, headers=ADMIN)
    assert answer.status_code == 200
    return answer.json


def test_the_first_page_says_what_the_card_says(make_app, two):
    page = make_app(two).test_client().get("/").text
    for words in ("<title>Cat or dog?</title>", "<h1>Cat or dog?</h1>", "Upload a photo of a pet.", "trained on pets"):
        assert words in page
    assert "distinguishes 2 classes: <bdi>cat</bdi>, <bdi>dog</bdi>." in page
    assert not re.search("(?i)cloth|fashion|shoe|garment", page.replace("/static/", ""))


def test_of_many_classes_the_most_probable_are_shown(ask, many):
    client, page = ask(many)
    probabilities = list(predict(client)["probabilities"].values())
    assert len(probabilities) == 200
    shown = re.findall(r'<li><bdi class="kind"', page)
    assert len(shown) == 10
    rest = sum(sorted(probabilities)[:190])
    assert rest > 0.01
    assert f"190 other classes: {rest * 100:.1f} % together" in page


def test_of_two_classes_two_are_shown(ask, two):
    _, page = ask(two)
    assert len(re.findall(r'<li><bdi class="kind"', page)) == 2
    assert "other class" not in page
    assert "What the model saw: 56 \N{MULTIPLICATION SIGN} 40" in page
    assert "56 by 40 colour pixels" in page


def test_what_drives_a_prediction_is_shown_on_the_photo(ask, two, make_app, sign_in):
    _, page = ask(two)
    photo, driving, seen = (
        Image.open(io.BytesIO(base64.b64decode(content))) for content in re.findall(r"base64,([^\"]+)", page)
    )
    assert photo.size == driving.size == (120, 160)  # upright, in the photo's own aspect ratio
    assert seen.size == (56, 40)
    assert driving.mode == "RGB"
    assert page.count('width="120" height="160"') == 2  # known before the images are loaded: nothing moves
    assert re.search('alt="Your image, dimmed except for .* outlined; the strongest is (at|on|in) the ', page)
    assert "covering the outlined parts makes it less probable" in page


def test_feedback_on_many_classes_is_searched(ask, many, two):
    client, page = ask(many)
    assert (
        len(re.search("<datalist.*?</datalist>", page)[0].split("<option")) == 1 + 200
    )  # all others, and none of them
    number = re.search(r'id="feedback-(\d+)"', page)[1]
    for said, status in (("kind 7", 303), ("kind 777", 400), (HOSTILE[1], 303), (HOSTILE[0], 303)):
        assert client.post(f"/history/{number}/feedback", data={"said": said}).status_code == status
    assert "<datalist" not in ask(two)[1]


def test_pages_of_many_classes_are_short_and_escaped(ask, many):
    client, page = ask(many)
    number = re.search(r'id="feedback-(\d+)"', page)[1]
    client.post(f"/history/{number}/feedback", data={"said": HOSTILE[0]})
    pages = [page, *(client.get(path).text for path in ("/", "/history", f"/history/{number}", "/admin"))]
    for each in pages:
        assert "<script>alert" not in each
        assert "<img src=x" not in each
        assert "<b>this" not in each
    assert "What&#39;s &lt;b&gt;this&lt;/b&gt;?" in pages[1]
    limitations = re.search(r"distinguishes 200 classes\. .*?</li>", pages[1])[0]
    assert "kind 1" not in limitations
    assert pages[4].count("<td ") == 1  # of the confusion matrix
    assert len(pages[4]) < 60_000


def test_colour_models_show_what_they_saw_in_colour(make_app, two):
    client = make_app(two).test_client()
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(predict(client, query="?preview=1")["preview"][22:]))))
    assert np.array_equal(seen, read_bytes(PHOTO, WIDE).pixels)
    marked = highlight(seen, np.zeros(seen.shape[:2], np.float32))
    assert np.array_equal(marked, (seen * 0.6).astype(np.uint8))


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_tensors_are_in_colour(make_app, two, datatype):
    client = make_app(two).test_client()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), np.uint8)
    data = pixels if datatype == "UINT8" else pixels.astype(np.float32) / 255
    tensor = {"name": "images", "shape": list(data.shape), "datatype": datatype, "data": data.ravel().tolist()}
    answer = client.post("/v2/models/animals/infer", json={"inputs": [tensor]}, headers=ADMIN)
    assert answer.json["model_name"] == "animals"
    (output,) = answer.json["outputs"]
    assert np.allclose(np.reshape(output["data"], (2, 2)), two.probabilities(pixels), atol=1e-6)
    metadata = client.get("/v2/models/animals").json
    assert metadata["inputs"][0]["shape"] == [-1, 40, 56, 3]
    assert metadata["outputs"][0]["shape"] == [-1, 2]
    wrong = {**tensor, "shape": [2, 40, 168]}
    refused = client.post("/v2/models/animals/infer", json={"inputs": [wrong]}, headers=ADMIN)
    assert refused.json == {"error": "inputs.0.shape: got [2, 40, 168], expected [n, 40, 56, 3]"}


@pytest.mark.parametrize("path", ["", "/ready", "/config", "/versions/{version}", "/versions/{version}/ready"])
def test_another_model_is_not_served(make_app, two, path):
    client = make_app(two).test_client()
    path = path.format(version=two.version)
    assert client.get(f"/v2/models/animals{path}").status_code == 200
    answer = client.get(f"/v2/models/fashion_mnist{path}")
    assert (answer.status_code, answer.json) == (404, {"error": "The only model that is served is animals."})


def test_openapi_describes_the_model(make_app, two):
    described = make_app(two).test_client().get("/openapi.json").json
    assert described["info"]["description"] == "Classifies images into the 2 classes of Animals."
    schemas = described["components"]["schemas"]
    assert schemas["ModelName"]["const"] == "animals"
    assert schemas["ClassName"]["enum"] == ["cat", "dog"]
    shape = schemas["InputTensor"]["properties"]["shape"]["description"]
    assert shape == "FP32 [n, 40, 56, 3] or UINT8 [n, 40, 56, 3]"


def test_a_body_of_too_many_large_images_is_refused_with_what_fits(make_app, two):
    client = make_app(two).test_client()
    assert client.get("/v2/models/animals/config").json["max_batch_size"] == 512
    assert max_images((224, 224, 3)) == 34
    answer = client.post("/v2/models/animals/infer", data=bytes(5 * 2**20 + 1), headers=ADMIN)
    assert answer.status_code == 413
    assert answer.json["error"] == (
        "The body is too large: at most 5 MiB, which is enough for 195 images as FP32 or 512 images as UINT8 where "
        "they are sent as bytes after the JSON (binary_data_size); send fewer at a time."
    )


def test_large_images_are_occluded_one_by_one_at_fewer_positions():
    batches = []

    def bright_corner(images):
        batches.append(images.shape)
        share = 0.1 + 0.8 * images[:, 20:40, 130:160].mean(axis=(1, 2, 3))
        return np.stack([1 - share, share], axis=1)

    strength = occlusion_sensitivity(bright_corner, np.full((224, 160, 3), 255, np.uint8), 1, PIXELS_MEAN)
    assert [count for count, *_ in batches] == [1] * (1 + 7 * 7)
    row, column = np.unravel_index(strength.argmax(), strength.shape)
    assert row < 64
    assert column > 96
    assert strength[112:].max() == 0


def test_large_images_are_predicted_in_smaller_batches():
    shape = (160, 160, 3)
    predictor = Predictor(small_network(shape, 2))
    assert predictor.batch_sizes == (1, 8)
    images = np.random.default_rng(0).integers(0, 256, (10, *shape), np.uint8)
    one_by_one = [predictor.probabilities(images[each : each + 1]) for each in range(10)]
    assert np.allclose(predictor.probabilities(images), np.concatenate(one_by_one), atol=1e-5)
