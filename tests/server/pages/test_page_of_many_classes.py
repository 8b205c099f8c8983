"""The page of a model in colour with two hundred classes, some with hostile names, in a real Chromium."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect
from serving import Server, other_card, png, small_network

from fashion import artifact
from fashion.preprocessing.input_spec import InputSpec

SPEC = InputSpec(height=96, width=96, channels=3, preprocessing="resize")
HOSTILE = ["<img src=x onerror=alert(1)>", "x" * 200, "\u05d7\u05ea\u05d5\u05dc, 50 %", "\"'&", "\U0001f600"]
CLASSES = [*HOSTILE, *(f"kind {number}" for number in range(195))]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
expect.set_options(timeout=15_000)


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    artifact.save(small_network(SPEC.shape, len(CLASSES)), other_card(SPEC, CLASSES, question="<b>Which?</b>"), folder)
    server = Server(folder, tmp_path_factory.mktemp("server"))
    yield f"http://127.0.0.1:{server.wait_until_ready().port}"
    (line,) = server.lines("ready")
    assert (line["model"], len(line["version"]), line["architecture"]) == ("animals", 12, "")
    server.stop()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_visit(browser, site, scheme, width):
    wrong = []
    context = browser.new_context(base_url=site, color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))

    def check() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if scheme == "light":  # axe takes seconds for 200 classes; test_page.py runs it in both colour schemes
            return
        found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []

    page.goto("/login")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("password")
    page.locator("#login").get_by_role("button", name="Sign in").click()
    page.wait_for_url("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("<b>Which?</b>")
    page.get_by_text("All 200 classes").click()
    expect(page.locator(".classes li")).to_have_text(CLASSES)
    page.locator("#file").set_input_files(
        {"name": "p.png", "mimeType": "image/png", "buffer": png(Image.effect_noise((90, 120), 80).convert("RGB"))}
    )
    result = page.locator(".result")
    expect(result.locator(".bars li")).to_have_count(10)
    expect(result.locator(".others")).to_have_text(re.compile(r"^190 other classes: [\d.]+ % together$"))
    for image, side in zip(result.locator("img").all(), (120, 120, 96), strict=True):  # the photo, twice, and the input
        assert image.evaluate("image => image.decode().then(() => image.naturalHeight)") == side
    photo, driving, _ = (image.bounding_box() for image in result.locator("img").all())
    assert (driving["width"], driving["height"]) == pytest.approx((photo["width"], photo["height"]), abs=1)
    assert photo["height"] == pytest.approx(photo["width"] * 120 / 90, abs=1)  # in the photo's own aspect ratio
    page.get_by_text("No, correct it").click()
    choice = page.get_by_label("Correct class")
    for typed, accepted in (("kind", False), (HOSTILE[0], True)):
        choice.fill(typed)
        page.get_by_role("button", name="Send").click()
        if not accepted:
            assert choice.evaluate("input => input.validationMessage") == "Choose one of the classes in the list."
    expect(page.locator(".feedback b")).to_have_text(HOSTILE[0])
    check()
    for path in ("/history", "/admin"):
        page.goto(path)
        expect(page.get_by_text(HOSTILE[0]).first).to_be_visible()
        check()
    page.goto("/")
    page.get_by_role("button", name="x" * 200).or_(page.locator(".examples button")).first.click()
    expect(page.locator(".result h2")).to_have_text(re.compile(", (over |under )?[0-9]+ %$"))
    context.close()
    assert wrong == []
