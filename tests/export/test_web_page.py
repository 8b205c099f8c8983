"""The page of ``format=web`` in a real browser without a network: the pixels and the answers of the server."""

import base64
import os
import re
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from serving import other_card, png

from fashion.card import Card, read_card
from fashion.errors import FashionError
from fashion.export import npm_packages, web_page
from fashion.export.formats import FORMATS
from fashion.inference.onnx_engine import OnnxEngine
from fashion.inference.tta import predict_with_tta
from fashion.paths import PRETRAINED
from fashion.preprocessing.input_spec import InputSpec
from fashion.preprocessing.prepare import read_bytes
from fashion.uncertainty.posthoc import PosthocUncertainty

NAME = "fashion_mnist_model"
MODEL = PRETRAINED / f"{NAME}.onnx"
IN_PAGE = """async ([content, method]) => {
  const letters = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const found = await classifier[method](new Blob([letters]));
  return {...found, pixels: Array.from(found.pixels)};
}"""


@pytest.fixture(scope="module")
def packages(starts_processes):
    """What pages carry, from the cache or from npm; a skip where there is neither, and on CI a failure."""
    try:
        for package in FORMATS["web"].npm:
            npm_packages.fetch(package)
    except FashionError as error:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(str(error))


@pytest.fixture(scope="module")
def show(packages, browser, tmp_path_factory):
    """Open the page of a card in a browser that has no network."""
    context = browser.new_context(offline=True)

    def opened(card: Card, size: dict[str, int] | None = None):
        file = tmp_path_factory.mktemp("page") / "page.html"
        file.write_text(web_page.render(card, MODEL.read_bytes()))
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.set_viewport_size(size or {"width": 1200, "height": 900})
        page.goto(file.as_uri())
        return page

    yield opened
    context.close()


@pytest.fixture(scope="module")
def card() -> Card:
    return read_card(PRETRAINED / f"{NAME}.json")


@pytest.fixture(scope="module")
def page(show, card):
    return show(card)


def ask(page, content: bytes, method: str = "classify") -> dict:
    return page.evaluate(IN_PAGE, [base64.b64encode(content).decode(), method])


def garment(card: Card) -> Image.Image:
    """28 x 28 grey pixels, an example of the model."""
    return Image.fromarray(read_bytes(card.examples[2].content, card.input).pixels[..., 0])


def noise(width: int, height: int, low: int, high: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(low, high, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2))


def product(size: tuple[int, int], background: object, colour: object) -> Image.Image:
    image = Image.new("RGB", size, background)
    width, height = size
    ImageDraw.Draw(image).ellipse((0.2 * width, 0.15 * height, 0.7 * width, 0.9 * height), colour)
    return image


def transparent() -> Image.Image:
    image = noise(150, 90, 60, 140)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def photo() -> Image.Image:
    image = noise(470, 620, 90, 150)
    shape = [(120, 120), (360, 110), (340, 500), (260, 510), (240, 250), (220, 510), (140, 500)]
    ImageDraw.Draw(image).polygon(shape, "navy")
    return image


def images(card: Card) -> dict[str, Image.Image]:
    """Images for every way through the preprocessing of Fashion-MNIST, without loss."""
    small = garment(card)
    array = np.asarray(small)
    coloured = matplotlib.colormaps["viridis"](array / 255.0, bytes=True)[..., :3]
    return {
        "used as is": small,
        "colours of viridis": Image.fromarray(coloured),
        "nearest interpolation": small.resize((280, 280), Image.Resampling.NEAREST),
        "bilinear interpolation": small.resize((112, 112), Image.Resampling.BILINEAR),
        "bicubic interpolation": small.resize((95, 95), Image.Resampling.BICUBIC),
        "Lanczos interpolation": Image.fromarray(cv2.resize(array, (140, 140), interpolation=cv2.INTER_LANCZOS4)),
        "colours of viridis converted": Image.fromarray(np.kron(coloured, np.ones((5, 5, 1), np.uint8))),
        "negated: its background is light": product((333, 500), "white", (40, 60, 120)),
        "background of 240": product((151, 97), (240, 240, 240), (40, 60, 120)),
        "trimmed": product((80, 64), "black", (190, 160, 120)),
        "resized to": noise(15, 11, 90, 150),
        "segmented": photo(),
        "brightened": transparent(),
    }


def test_the_examples_and_every_kind_of_image_get_the_answers_of_the_server(page, card):
    engine, _ = OnnxEngine.load(PRETRAINED)
    uncertainty = PosthocUncertainty.from_card(card)
    files = {f"example {each.label}": each.content for each in card.examples}
    files |= {step: png(image) for step, image in images(card).items()}
    for name, content in files.items():
        expected = read_bytes(content, card.input)
        found = ask(page, content)
        assert name.startswith("example") or any(name in step for step in expected.steps), (name, expected.steps)
        assert found["steps"] == list(expected.steps), name
        assert np.array_equal(found["pixels"], expected.pixels.ravel()), name
        prediction = predict_with_tta([expected], engine.predict)
        assert np.allclose(found["probabilities"], prediction.probabilities[0], atol=1e-5), name
        assert found["predicted_class"] == card.classes[prediction.probabilities[0].argmax()]
        judgement = uncertainty.judge(prediction, 0, photo=expected.is_photo)
        assert found["decision"] == judgement.decision, name
        assert found["score"] == pytest.approx(judgement.score, abs=1e-3), name
    assert page.errors == []


@pytest.mark.parametrize(
    ("fit", "channels", "size"), [("stretch", 3, (40, 48)), ("crop", 1, (33, 32)), ("pad", 3, (40, 30))]
)
def test_own_images_are_resized_as_pillow_does(show, fit, channels, size):
    height, width = size
    spec = InputSpec(height=height, width=width, channels=channels, preprocessing="resize", fit=fit)
    own = show(other_card(spec, ["cat", "dog"]))
    for original in ((200, 150), (41, 300), (30, 29), (width, height), (100, 20)):
        content = png(noise(*original, 0, 256))
        expected, found = read_bytes(content, spec), ask(own, content, "preparedFrom")
        assert found["steps"] == list(expected.steps)
        assert np.array_equal(found["pixels"], expected.pixels.ravel()), (original, fit)
    large = png(noise(400, 300, 0, 256).resize((1600, 1200)), "JPEG", quality=95)
    expected, found = read_bytes(large, spec), ask(own, large, "preparedFrom")
    assert found["steps"] == list(expected.steps)
    difference = np.abs(np.array(found["pixels"]) - expected.pixels.ravel().astype(int))
    assert difference.mean() < 1.5  # a browser cannot decode at an eighth
    own.close()


def test_files_that_are_chosen_are_shown_with_their_bars(page, card, tmp_path):
    file = tmp_path / "coat.png"
    garment(card).save(file)
    (tmp_path / "text.png").write_text("no image")
    before = page.locator(".result").count()
    page.set_input_files("#file", [file, tmp_path / "text.png"])
    page.wait_for_selector(".job.wrong")
    assert page.locator(".result").count() == before + 1
    assert "not an image" in page.locator(".job.wrong").inner_text()
    first = page.locator(".result").first
    assert first.locator("h2").inner_text().startswith("Coat, ")
    assert first.locator(".bars li").count() == 10
    assert first.locator("img").count() == 2
    assert page.locator("#status").inner_text().startswith("text.png: ")


def test_an_image_that_is_dropped_is_classified(page, card):
    before = page.locator(".result").count()
    content = base64.b64encode(png(garment(card))).decode()
    page.evaluate(
        """(content) => {
          const carried = new DataTransfer();
          carried.items.add(new File([Uint8Array.from(atob(content), (x) => x.charCodeAt(0))], "dropped.png"));
          document.dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
        }""",
        content,
    )
    page.wait_for_function("(count) => document.querySelectorAll('.result').length > count", arg=before)
    assert page.locator(".result .file").first.inner_text() == "dropped.png"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_light_and_dark_and_fits_a_phone(show, card, scheme):
    from axe_playwright_python.sync_playwright import Axe

    phone = show(card, {"width": 360, "height": 720})
    phone.emulate_media(color_scheme=scheme)
    phone.locator("[data-example='0']").click()
    phone.wait_for_selector(".result")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    found = Axe().run(phone).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    phone.close()


def test_it_carries_the_licences_and_is_small(page, card):
    page.locator("#licences summary").click()
    page.wait_for_function("document.querySelector('#licences pre').textContent.length > 1000")
    text = page.locator("#licences pre").text_content()
    assert "ONNX Runtime" in text
    assert "MIT License" in text
    assert "Apache License" in text
    assert len(page.content()) < 25e6


def test_the_model_in_a_page_is_the_one_that_is_measured(packages, card):
    assert web_page.model_in(web_page.render(card, MODEL.read_bytes())) == MODEL.read_bytes()


def test_without_npm_and_its_packages_one_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    archive = Path(tmp_path, "fashion", "npm", "onnxruntime-web-1.30.0.tgz")
    advice = f"install npm, or put the archive of onnxruntime-web@1.30.0 at {archive}"
    with pytest.raises(FashionError, match=re.escape(advice)):
        npm_packages.fetch(npm_packages.ONNX_RUNTIME_WEB)
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"another file")  # is not taken
    with pytest.raises(FashionError, match=r"needs onnxruntime-web@1\.30\.0, and npm to get it"):
        npm_packages.fetch(npm_packages.ONNX_RUNTIME_WEB)
