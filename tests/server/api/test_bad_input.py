"""Everything that is not an image: an exact answer each, and a server that keeps serving."""

import errno
import gzip
import io
import struct
import tempfile
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import AVIF, BIG_ENDIAN, HEIC, chunk, damaged, images_with_damaged_metadata
from PIL import Image
from serving import ADMIN, form, png
from werkzeug import formparser

from fashion.errors import InvalidImageError, UnsupportedImageError
from fashion.preprocessing.decode import decode
from fashion.preprocessing.fashion_mnist import prepare

IMAGE = Image.effect_noise((60, 80), 80).convert("RGB")
PNG = png(IMAGE)
LARGEST = "expected at most 8,192 a side and 25 million in all; make it smaller."


def png_of(width: int, height: int, *extra: bytes, pixels: bytes = b"") -> bytes:
    """A PNG of one bit a pixel, all black, that says it is so large."""
    pixels = pixels or zlib.compress(bytes(min((width // 8 + 2) * height, 1000)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def broken(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def animation(count: int, kind: str) -> bytes:
    frames = [Image.new("L", (8, 8), number * 80 % 256) for number in range(count)]
    return png(frames[0], kind, save_all=True, append_images=frames[1:])


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan, which refines all pixels, is repeated."""
    content = png(IMAGE, "JPEG", progressive=True)
    end, last = len(content) - 2, content.rindex(b"\xff\xda")
    return content[:end] + content[last:end] * (count - content.count(b"\xff\xda")) + content[end:]


FILES = {
    "empty": (b"", 400, "The image is empty."),
    "text named .png": (b"just text", 415, "The file is not an image, expected PNG, JPEG, WebP, AVIF or HEIC."),
    "gif": (png(IMAGE, "GIF"), 415, "The file is a GIF image; send PNG, JPEG, WebP, AVIF or HEIC."),
    "tiff": (png(IMAGE, "TIFF"), 415, "The file is a TIFF image; send PNG, JPEG, WebP, AVIF or HEIC."),
    "svg": (
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        415,
        "The file is an SVG drawing; send PNG, JPEG, WebP, AVIF or HEIC.",
    ),
    "pdf": (b"%PDF-1.7\n1 0 obj\n", 415, "The file is a PDF document; send PNG, JPEG, WebP, AVIF or HEIC."),
    "truncated png": (PNG[:3000], 422, "The image is damaged: "),
    "truncated jpeg": (png(IMAGE, "JPEG")[:1000], 422, "The image is damaged: "),
    "truncated webp": (png(IMAGE, "WEBP")[:1000], 422, "The image is damaged: "),
    "bad CRC of the header": (broken(PNG, 29), 422, "The image is damaged: "),
    "bad CRC of the pixels": (broken(PNG, len(PNG) - 13), 422, "The image is damaged: "),
    "60,000 x 60,000": (png_of(60_000, 60_000), 422, f"The image is 60000 x 60000 pixels, {LARGEST}"),
    "13,000 x 13,000": (png_of(13_000, 13_000), 422, f"The image is 13000 x 13000 pixels, {LARGEST}"),
    "1 x 65,535": (png_of(1, 65_535), 422, f"The image is 1 x 65535 pixels, {LARGEST}"),
    "1 x 51": (png_of(1, 51), 422, "The image is 1 x 51 pixels, expected at most 50 times as long as wide; crop it."),
    "1,000 scans": (
        with_scans(1000),
        422,
        "The image has 1000 scans, expected at most 100; save it as an ordinary JPEG.",
    ),
    "10,000 frames": (
        animation(10_000, "PNG"),
        422,
        "The image is an animation, expected a still image; save a single frame.",
    ),
    "animated webp": (
        animation(3, "WEBP"),
        422,
        "The image is an animation, expected a still image; save a single frame.",
    ),
}


@pytest.mark.parametrize(("content", "status", "detail"), FILES.values(), ids=FILES)
def test_a_bad_file_gets_a_precise_error(post, content, status, detail):
    tracemalloc.start()
    answer = post(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert answer.json["detail"].startswith(detail)
    assert answer.json["status"] == status
    assert "0x" not in answer.text
    assert most < 64 * 2**20
    assert post(PNG).status_code == 200


@pytest.mark.parametrize(
    "metadata",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 * 2**20))),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(64 * 2**20))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(64 * 2**20))),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(64 * 2**20))),
        chunk(b"tEXt", b"Comment\0" + bytes(3 * 2**20)),
    ],
    ids=["text", "exif", "xmp", "colour profile", "plain text"],
)
def test_large_metadata_is_skipped_without_being_unpacked(post, metadata):
    tracemalloc.start()
    answer = post(png_of(28, 28, metadata))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 200
    assert most < 24 * 2**20


def test_64_mebibytes_of_plain_text_chunk_are_too_large_a_body(post):
    assert post(png_of(28, 28, chunk(b"tEXt", b"Comment\0" + bytes(64 * 2**20)))).status_code == 413


def test_a_phones_second_image_in_a_jpeg_is_not_an_animation(post):
    both = png(IMAGE, "MPO", save_all=True, append_images=[IMAGE])
    assert Image.open(io.BytesIO(both)).n_frames == 2
    assert post(both).status_code == 200


def test_a_progressive_jpeg_is_read(post):
    assert post(png(IMAGE, "JPEG", progressive=True)).status_code == 200


def test_an_image_with_unreadable_exif_is_not_rotated(post):
    assert post(png(IMAGE, "JPEG", exif=b"Exif\0\0nonsense")).status_code == 200


def test_no_bytes_of_a_large_file_make_it_a_large_text(post):
    bytes_at_random = np.random.default_rng(0).bytes(2**20)
    for _ in range(10):
        assert post(PNG[:8] + bytes_at_random + bytes_at_random[::-1]).status_code == 422
        bytes_at_random = bytes_at_random[7919:] + b"\r\n-" + bytes_at_random[:7919]


def test_uploads_need_no_disk(post, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, full)
    monkeypatch.setattr(formparser, "SpooledTemporaryFile", full)
    large = png(Image.effect_noise((1400, 1400), 80))
    assert len(large) > 10**6
    assert post(large).status_code == 200


SEND_ONE = "; send an image in the field 'file' of a multipart/form-data body."
HEADER = "; do not set this header yourself: the HTTP client writes it."
NOT_A_FORM = "The body must be multipart/form-data, with an image in the field 'file'."


def field(content: bytes, disposition: bytes = b'form-data; name="file"') -> bytes:
    """A form with one part, which has no file name."""
    return b"--XX\r\nContent-Disposition: %s\r\n\r\n%s\r\n--XX--\r\n" % (disposition, content)


@pytest.mark.parametrize(
    ("body", "kind", "status", "detail"),
    [
        (b"", None, 400, "The request has no body" + SEND_ONE),
        (b"", form()[1], 400, "The request has no body" + SEND_ONE),
        (PNG, None, 400, "The request has no Content-Type" + SEND_ONE),
        (*form(), 400, "The form is empty" + SEND_ONE),
        (*form(("picture", PNG)), 400, "The form has no field 'file'" + SEND_ONE),
        (field(PNG, b"form-data"), form()[1], 400, "The form has no field 'file'" + SEND_ONE),
        (field(b"shoe.png"), form()[1], 400, "The field 'file' is text, expected a file; with curl, use"),
        (field(b""), form()[1], 400, "The image is empty."),
        (*form(("file", b""), name=""), 400, "The image is empty."),
        (field(b"\xff\xfe\xfd"), form()[1], 415, "The file is not an image"),
        (b"--XX\r\nName: x\r\n\r\n\r\n--XX--", form()[1], 400, "The form has a part without a valid Content-Disp"),
        (field(PNG, b"\xff"), form()[1], 400, "The form has a part without a valid Content-Disposition header."),
        (form(("file", PNG))[0][:200], form()[1], 400, "The form is incomplete: its closing boundary is missing; send"),
        (b"--XX\r\nContent-", form()[1], 400, "The form is incomplete: its closing boundary is missing; send the"),
        (form(("file", PNG))[0], "multipart/form-data", 400, "The request's Content-Type has no boundary" + HEADER),
        (
            *(b"not a form", "multipart/form-data; boundary=" + "x" * 500, 400),
            "The boundary in the request's Content-Type is not in the body" + HEADER,
        ),
        (
            *(form(("file", PNG))[0], "multipart/form-data; boundary=other", 400),
            "The boundary in the request's Content-Type is not in the body" + HEADER,
        ),
        (b"file=shoe.png", "application/x-www-form-urlencoded", 415, NOT_A_FORM + " In HTML, set enctype="),
        (PNG, "image/png", 415, NOT_A_FORM),
        (b"{}", "application/json", 415, NOT_A_FORM),
        (*form(*[("x", b"")] * 1001), 413, "The body is too large: at most 5 MiB in at most 100 parts"),
        (*form(("file", bytes(5 * 2**20))), 413, "The body is too large: at most 5 MiB in at most 100 parts"),
        (
            b'--XX\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + bytes(140_000) + b"\r\n--XX--",
            form()[1],
            413,
            "The body is too large: at most 5 MiB in at most 100 parts",
        ),
    ],
    ids=[
        "no body", "empty body", "no type", "empty form", "wrong field", "no field", "text field", "empty field",
        "empty file", "neither text nor image", "no disposition", "bad disposition", "cut", "cut in a header",
        "no boundary", "no form", "other boundary", "urlencoded", "raw png", "json", "1,001 parts", "too large",
        "large text",
    ],
)  # fmt: skip
def test_a_bad_body_gets_a_precise_error(client, body, kind, status, detail):
    for path in ("/predict", "/predict/batch"):
        stream = io.BytesIO(body)  # as data, the client would make a form of an empty body
        answer = client.post(path, input_stream=stream, content_length=len(body), content_type=kind, headers=ADMIN)
        problem = answer.json["results"][0]["problem"] if "results" in answer.json else answer.json
        assert problem["status"] == status
        assert problem["detail"].startswith(detail)


def test_a_part_without_a_file_name_is_an_image_too(client, post):
    large = png(Image.effect_noise((700, 700), 80))  # more than a text field may have
    assert len(large) > 300_000
    for content in (PNG, large):
        answer = client.post("/predict", data=field(content), content_type=form()[1], headers=ADMIN)
        assert answer.status_code == 200
        assert answer.json["probabilities"] == post(content).json["probabilities"]


def test_text_among_several_files_is_that_parts_problem_alone(client):
    body = field(b"shoe.png").removesuffix(b"--XX--\r\n") + form(("file", PNG))[0]
    results = client.post("/predict/batch", data=body, content_type=form()[1], headers=ADMIN).json["results"]
    assert results[0]["problem"]["status"] == 415
    assert results[1]["confidence"] > 0


def test_a_compressed_form_is_refused(client):
    body, kind = form(("file", PNG))
    headers = {**ADMIN, "Content-Encoding": "gzip"}
    answer = client.post("/predict", data=gzip.compress(body), content_type=kind, headers=headers)
    assert answer.status_code == 415
    assert answer.json["detail"] == "The request has a Content-Encoding; send its body uncompressed, without one."
    headers["Content-Encoding"] = "Identity"
    assert client.post("/predict", data=body, content_type=kind, headers=headers).status_code == 200


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\\b\0c.png", "<script>.png", "x" * 5000, "", "é\u202e.png"])
def test_the_name_of_a_file_is_never_used(post, name, caplog, capsys):
    answer = post(PNG, name=name)
    assert answer.status_code in ({200} if name else {200, 400})
    output = answer.text + caplog.text + "".join(capsys.readouterr())
    assert not name or name not in output


SEEDS = [PNG, png(IMAGE, "JPEG"), png(IMAGE, "WEBP"), png(IMAGE.convert("P")), png(IMAGE, "MPO"), AVIF, HEIC]


def mutated() -> st.SearchStrategy[bytes]:
    files = st.sampled_from(SEEDS).flatmap(lambda seed: damaged(seed, times=6, head=400, numbers=BIG_ENDIAN))
    return files.map(lambda content: content or b"\0")


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(mutated())
def test_thousands_of_mutated_images_are_read_or_refused(content):
    try:
        pixels = prepare(decode(io.BytesIO(content))).pixels
    except (InvalidImageError, UnsupportedImageError):
        return
    assert pixels.shape == (28, 28, 1)
    assert pixels.dtype == np.uint8


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(mutated())
def test_mutated_images_over_http_never_give_a_server_error(post, content):
    assert post(content).status_code in {200, 400, 415, 422}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(images_with_damaged_metadata(), min_size=3, max_size=3))
def test_damaged_metadata_in_a_batch_fails_no_other_image(server, contents):
    body, kind = form(*(("file", content) for content in [*contents, AVIF, HEIC, PNG]))
    answer = server.request("/predict/batch", body, {**ADMIN, "Content-Type": kind})
    assert answer.status == 200
    *damaged, avif, heic, good = answer.json["results"]
    assert "predicted_class" in avif
    assert "predicted_class" in heic
    assert all("predicted_class" in result or result["problem"]["status"] == 422 for result in damaged)
    assert "predicted_class" in good


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.binary(max_size=300), st.sampled_from(["/predict", "/predict/batch", "/v2/models/fashion_mnist/infer"]))
def test_any_bytes_as_a_body_never_give_a_server_error(client, body, path):
    for kind in (form()[1], "application/json"):
        assert client.post(path, data=body, content_type=kind, headers=ADMIN).status_code in {400, 413, 415}
