"""One upload is decoded once and judged once, whatever is made of the result."""

import pytest
from PIL import Image
from serving import ADMIN, form, png

from fashion.preprocessing import decode
from fashion.server.service import uploads
from fashion.uncertainty.posthoc import PosthocUncertainty

PAGE = {"Accept": "text/html"}
PHOTO = Image.linear_gradient("L").resize((3600, 2700)).convert("RGB")  # a JPEG of which is decoded at 900 x 675


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    made = []
    load, judge = decode.load, PosthocUncertainty.judge
    monkeypatch.setattr(decode, "load", lambda *arguments: made.append("decode") or load(*arguments))
    monkeypatch.setattr(
        PosthocUncertainty, "judge", lambda *arguments, **options: made.append("judge") or judge(*arguments, **options)
    )
    return made


@pytest.mark.parametrize("headers", [{}, PAGE], ids=["program", "browser"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_is_decoded_and_judged_once(post, calls, headers, kind):
    image = Image.linear_gradient("L").convert("RGB")
    assert post(png(image, kind), headers={**ADMIN, **headers}).status_code == 200
    assert calls == ["decode", "judge"]


def test_a_page_is_admitted_once_for_all_of_its_work(make_app, monkeypatch):
    app = make_app(threads=1, queue=0)
    admit, admitted = app.services.admission.admit, []
    monkeypatch.setattr(app.services.admission, "admit", lambda: admitted.append("once") or admit())
    body, kind = form(("file", png(Image.linear_gradient("L"))))
    assert (
        app.test_client().post("/predict", data=body, content_type=kind, headers={**ADMIN, **PAGE}).status_code == 200
    )
    assert admitted == ["once"]


def test_each_image_of_a_batch_is_decoded_and_judged_once(post, calls):
    image = png(Image.linear_gradient("L"))
    assert post(image, image, b"text", path="/predict/batch").status_code == 200
    assert calls == ["decode", "decode", "judge", "judge"]


@pytest.mark.parametrize(("keep_images", "kind", "decoded"), [(False, "JPEG", 1), (True, "JPEG", 2), (True, "WEBP", 1)])
def test_only_a_large_jpeg_is_decoded_again_for_a_large_copy(make_app, calls, keep_images, kind, decoded):
    client = make_app(keep_images=keep_images).test_client()
    body, form_kind = form(("file", png(PHOTO, kind, quality=50)))
    answer = client.post("/predict", data=body, content_type=form_kind, headers={**ADMIN, **PAGE})
    assert answer.status_code == 200
    assert calls.count("decode") == decoded


@pytest.mark.parametrize(("size", "side", "expected"), [((2400, 1800), 1024, (1024, 768)), ((30, 20), 512, (30, 20))])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_thumbnail_is_upright_and_has_nothing_but_pixels(make_app, size, side, expected, kind):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    content = png(Image.new("RGB", size, "navy"), kind, exif=exif)
    app = make_app()
    with app.test_request_context():
        app.preprocess_request()
        with app.services.admission.decode_slot():
            thumbnail = uploads.read(
                content, app.services.model.input, app.services.admission, app.services.monitor, side
            ).thumbnail
    assert thumbnail.size == expected[::-1]
    assert thumbnail.mode == "RGB"
    assert thumbnail.info == {}
    assert not thumbnail.getexif()
