"""POST /predict and /predict/batch: the response to an image."""

import base64
import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw
from serving import ADMIN, CLASSES, form, png

from fashion import artifact
from fashion.data.fashion_mnist import fashion_mnist
from fashion.inference.predictor import Predictor
from fashion.preprocessing.fashion_mnist import prepare
from fashion.server.service.served_model import ServedModel
from fashion.uncertainty.calibration import at_temperature


def product(ground="white", shape="navy", size=(120, 200)) -> Image.Image:
    image = Image.new("RGB", size, ground)
    ImageDraw.Draw(image).ellipse((30, 40, 90, 170), fill=shape)
    return image


@pytest.fixture(scope="module")
def test_images(fashion_mnist_root) -> np.ndarray:
    return fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0).test.images[..., 0]


def test_the_answer_is_that_of_the_contract(post):
    answer = post(png(product()))
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    result = answer.json
    assert list(result) == [
        "predicted_class", "class_index", "confidence", "probabilities", "also_likely", "decision", "abstention",
        "preprocessing", "model", "request_id",
    ]  # fmt: skip
    assert list(result["probabilities"]) == CLASSES
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert result["confidence"] == max(result["probabilities"].values())
    assert result["probabilities"][result["predicted_class"]] == result["confidence"]
    assert CLASSES[result["class_index"]] == result["predicted_class"]
    assert result["decision"] == "accept"
    assert result["abstention"]["score"] < result["abstention"]["threshold"] == 1e6
    assert result["request_id"] == answer.headers["X-Request-ID"]
    assert result["model"]["name"] == "fashion_mnist"
    assert result["preprocessing"]["steps"] == list(prepare(product()).steps)


def test_test_images_get_the_offline_answer(post, test_images, served_model):
    images = test_images[:300]
    offline = served_model.probabilities(images[..., np.newaxis])
    for image, row in zip(images, offline, strict=True):
        result = post(png(image)).json
        assert result["class_index"] == row.argmax()
        # One image and 300 have different batch shapes, so the last bits may differ.
        assert np.allclose(list(result["probabilities"].values()), row, atol=1e-6)
        assert result["preprocessing"]["steps"] == ["used as is: 28 x 28 grey"]


def test_one_image_alone_gives_the_offline_probability_to_the_bit(post, test_images, served_model):
    for image in test_images[:50]:
        alone = served_model.probabilities(image[np.newaxis, ..., np.newaxis])[0]
        assert list(post(png(image)).json["probabilities"].values()) == alone.tolist()


def turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(image.rotate(90, expand=True), exif=exif)


def on_transparency(image: Image.Image) -> Image.Image:
    transparent = image.convert("RGBA")
    transparent.putalpha(Image.fromarray((np.asarray(image.convert("L")) < 200).astype(np.uint8) * 255))
    return transparent


@pytest.mark.parametrize(
    "content",
    [
        png(product()),
        png(product(), "JPEG", quality=95),
        png(product(), "WEBP", lossless=True),
        png(product().convert("CMYK"), "JPEG", quality=95),
        png(product().convert("P", palette=Image.Palette.ADAPTIVE)),
        png(np.asarray(product().convert("L")).astype(np.uint16) * 257),
        png(on_transparency(product())),
        turned(product()),
    ],
    ids=["png", "jpeg", "webp", "cmyk", "palette", "16 bits", "rgba", "turned"],
)
def test_every_kind_of_file_gives_the_same_pixels(post, content):
    answer = post(content, path="/predict?preview=1")
    assert answer.status_code == 200
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json["preview"].partition(",")[2]))))
    assert seen.shape == (28, 28)
    assert np.abs(seen.astype(int) - prepare(product()).pixels[..., 0]).mean() < 6


def test_a_browser_gets_a_page(post):
    answer = post(png(product()), headers={**ADMIN, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert any(f"<h2><bdi>{name}</bdi>, " in answer.text for name in CLASSES)
    assert 'src="data:image/png;base64,' in answer.text


def test_the_form_sends_what_predict_reads(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert 'action="/predict" method="post" enctype="multipart/form-data">' in page.text
    assert 'type="file" name="file"' in page.text


def test_several_images_get_a_result_each(post, test_images):
    bad = b"just text"
    answer = post(png(test_images[0]), bad, png(test_images[1]), b"", path="/predict/batch")
    assert answer.status_code == 200
    first, second, third, fourth = answer.json["results"]
    assert first["predicted_class"] == post(png(test_images[0])).json["predicted_class"]
    assert second["problem"]["status"] == 415
    assert third["predicted_class"] == post(png(test_images[1])).json["predicted_class"]
    assert fourth["problem"] == {
        "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "The image is empty.",
    }  # fmt: skip


def test_a_batch_of_nothing_but_bad_files_is_answered(post):
    answer = post(b"x", b"y", path="/predict/batch")
    assert answer.status_code == 200
    assert [result["problem"]["status"] for result in answer.json["results"]] == [415, 415]


def test_a_batch_of_sixty_four_files_is_accepted_and_one_more_is_not(post, test_images):
    contents = [png(image) for image in test_images[:65]]
    assert len(post(*contents[:64], path="/predict/batch").json["results"]) == 64
    refused = post(*contents, path="/predict/batch")
    assert refused.status_code == 400
    assert refused.json["detail"] == "Expected at most 64 images, got 65."


def test_several_images_are_too_many_for_predict(post):
    answer = post(png(product()), png(product()))
    assert answer.status_code == 400
    assert answer.json["detail"] == "Expected one image, got 2; /predict/batch accepts several."


def test_the_model_abstains_above_the_threshold(client, post, served_model, monkeypatch):
    accepted = post(png(product())).json
    lower = served_model.uncertainty.abstention._replace(threshold=accepted["abstention"]["score"] - 0.5)
    monkeypatch.setattr(served_model, "uncertainty", dataclasses.replace(served_model.uncertainty, abstention=lower))
    abstained = post(png(product())).json
    assert abstained["decision"] == "abstain"
    assert abstained["abstention"]["score"] == accepted["abstention"]["score"]
    assert abstained["probabilities"] == accepted["probabilities"]
    assert "fashion_abstentions_total 1.0" in client.get("/metrics").text
    page = post(png(product()), headers={**ADMIN, "Accept": "text/html"})
    assert "Not sure" in page.text


def test_a_model_of_an_older_card_answers_without_abstention(make_app, small_artifact, keras_backend, tmp_path):
    card = json.loads((small_artifact / "fashion_mnist_model.json").read_text())
    shutil.copy(small_artifact / "fashion_mnist_model.keras", tmp_path)
    old = {key: value for key, value in card.items() if key not in {"calibration", "abstention"}}
    (tmp_path / "fashion_mnist_model.json").write_text(json.dumps(old))
    model = ServedModel(tmp_path, keras_backend)
    model.load()
    body, kind = form(("file", png(product())))
    result = make_app(model).test_client().post("/predict", data=body, content_type=kind, headers=ADMIN).json
    assert result["decision"] == "accept"
    assert "abstention" not in result


def test_the_confidence_is_calibrated(served_model):
    images = np.random.default_rng(5).integers(0, 256, (20, 28, 28, 1), np.uint8)
    raw = Predictor(artifact.load(served_model.path).model).probabilities(images)
    answered = served_model.probabilities(images)
    assert np.allclose(answered, at_temperature(raw, 1.5), atol=1e-5)
    assert np.abs(answered - raw).max() > 0.01


def test_an_id_of_the_client_comes_back_when_it_is_harmless(client):
    assert client.get("/livez", headers={"X-Request-ID": "a-1.B_2"}).headers["X-Request-ID"] == "a-1.B_2"
    for hostile in ("", "x" * 65, "a b", '"}', "é"):
        assert len(client.get("/livez", headers={"X-Request-ID": hostile}).headers["X-Request-ID"]) == 32


def test_a_full_queue_refuses_at_once(make_app):
    app = make_app(threads=1, queue=0)
    body, kind = form(("file", png(product())))
    with app.services.admission.admit():
        answer = app.test_client().post("/predict", data=body, content_type=kind, headers=ADMIN)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json["detail"] == "Too many requests are waiting; try again later."
    assert app.test_client().post("/predict", data=body, content_type=kind, headers=ADMIN).status_code == 200
