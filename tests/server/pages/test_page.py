"""The page as people use it, in a real Chromium: with a mouse, with the keyboard alone, and without JavaScript."""

import base64
import re
import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect
from serving import CLASSES, Server, png

from fashion.preprocessing.formats import accepted
from fashion.server.storage.accounts import Accounts

IMAGE = png(Image.effect_noise((90, 120), 80).convert("RGB"))
ADA = ("ada", "a long password")
HOSTILE = "<img src=x onerror=alert(1)>.png"
expect.set_options(timeout=15_000)
MAX_BYTES = 60 * 1024
# WCAG 2.2 up to level AA, and what axe calls best practices.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# Drops or pastes a file, by the events that a browser itself would send.
GIVE = """([kind, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "image/png" }));
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste" ? new ClipboardEvent(kind, { ...options, clipboardData: data })
    : new DragEvent(kind, { ...options, dataTransfer: data });
  document.querySelector("#upload").dispatchEvent(event);
}"""


REMEMBER_WHAT_IS_SENT = """() => {
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (body) {
    window.sent = body.get("file").type;
    return send.call(this, body);
  };
}"""


@pytest.fixture(scope="module")
def site(browser, small_artifact, tmp_path_factory):
    """A server of this module's own, since its log-ins are tried too often here."""
    folder = tmp_path_factory.mktemp("page")
    server = Server(small_artifact, folder)
    address = f"http://127.0.0.1:{server.wait_until_ready().port}"
    accounts = Accounts(f"sqlite:///{folder}/fashion.db")
    accounts.add(*ADA)
    accounts.database.close()
    yield address
    server.stop()


@pytest.fixture
def visit(browser, site):
    """Open a window of a browser that nobody used before; what goes wrong in its scripts fails the test."""
    contexts, wrong = [], []

    def opened(**options) -> Page:
        contexts.append(browser.new_context(base_url=site, **options))
        contexts[-1].set_default_timeout(15_000)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        # Over plain HTTP, Chromium says that it ignores the Cross-Origin-Opener-Policy.
        violation = re.compile("Policy(?!.*origin was untrustworthy)|Trusted")
        page.on("console", lambda line: wrong.append(line.text) if violation.search(line.text) else None)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def signed_in(visit):
    def opened(**options) -> Page:
        page = visit(**options)
        sign_in(page)
        page.wait_for_url("/")
        return page

    return opened


def sign_in(page: Page, name="admin", password="password") -> None:
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.locator("#login").get_by_role("button", name="Sign in").click()


def file(name="coat.png", content=IMAGE) -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def choose(page: Page, *files: dict) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose images").click()
    chooser.value.set_files(list(files))


def expect_answer(page: Page, number=0) -> None:
    result = page.locator(".result").nth(number)
    expect(result.get_by_role("heading", level=2)).to_have_text(re.compile(rf"^({'|'.join(CLASSES)}), (over )?\d+ %$"))
    expect(result.locator(".bars li")).to_have_count(10)
    shares = [float(text.strip("<> %")) for text in result.locator(".bars .share").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    for image, side in zip(result.locator("img").all(), (120, 28, 28), strict=True):
        assert image.evaluate("image => image.decode().then(() => image.naturalHeight)") == side
    assert result.locator(".pixels").first.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"


def test_the_whole_visit(visit):
    page = visit()
    page.goto("/")
    page.get_by_role("banner").get_by_role("link", name="Sign in").click()
    sign_in(page, password="guess")
    expect(page.get_by_role("alert")).to_have_text("Wrong name or password. Both are case-sensitive.")
    expect(page.get_by_label("Password")).to_be_focused()
    page.get_by_label("Password").fill("password")
    page.keyboard.press("Enter")
    page.wait_for_url("/")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")

    choose(page, file())
    expect_answer(page)
    expect(page.locator(".result .file")).to_have_text("coat.png")
    expect(page.get_by_role("status")).to_contain_text("coat.png: ")
    answer = page.locator(".result h2").inner_text().partition(",")[0]
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".feedback")).to_contain_text("You confirmed this prediction.")
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("No, correct it").click()
    page.get_by_label("Correct class").select_option("Something else")
    page.get_by_label("Comment").fill("<b>a hat</b>")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".feedback q")).to_have_text("<b>a hat</b>")

    page.get_by_role("link", name="History").click()
    row = page.get_by_role("listitem").filter(has_text="You said: Something else")
    expect(row).to_contain_text(answer)
    page.get_by_role("link", name="Admin").click()
    said = page.get_by_role("row", name="Something else")
    expect(said.get_by_role("cell", name="1", exact=True)).to_have_count(1)
    page.get_by_role("link", name="History").click()
    row.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing here yet")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("banner").get_by_role("link", name="Sign in")).to_be_visible()
    page.goto("/history")
    expect(page).to_have_url(re.compile(r"/login\?next=/history$"))


@pytest.mark.parametrize(("kind", "name"), [("drop", "dropped.png"), ("paste", "image.png")])
def test_images_are_dropped_and_pasted(signed_in, kind, name):
    page = signed_in()
    page.evaluate(GIVE, [kind, name, base64.b64encode(IMAGE).decode()])
    expect_answer(page)
    expect(page.locator(".result .file")).to_have_text(name)


def test_several_files_have_an_answer_or_an_error_each(signed_in):
    page = signed_in()
    page.locator("#file").set_input_files(
        [
            file(HOSTILE),
            file("notes.txt", b"x") | {"mimeType": "text/plain"},
            file("broken.png", IMAGE[:-40]),
            file("empty.png", b""),
            file("other.png"),
        ]
    )
    expect(page.locator(".result")).to_have_count(2)
    expect(page.locator(".job.wrong")).to_have_count(3)
    assert page.locator("#results > * :is(.file, .name)").all_inner_texts() == [
        HOSTILE, "notes.txt", "broken.png", "empty.png", "other.png",
    ]  # fmt: skip
    expect(page.locator(".job.wrong .state")).to_have_text(
        [
            f"This file's format is not supported. Upload {accepted()}.",
            re.compile("^The image is damaged: "),
            "This file is empty.",
        ]
    )
    expect_answer(page, 1)
    page.locator(".job.wrong").first.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".job.wrong")).to_have_count(2)


def test_an_upload_is_shown_and_can_be_cancelled(signed_in):
    page = signed_in()
    held = []
    page.route("**/predict", lambda route: held.append(route))  # never answered
    choose(page, file())
    job = page.locator(".job")
    expect(job.get_by_role("progressbar")).to_be_visible()
    expect(job.locator("img")).to_be_visible()
    with page.expect_event("requestfailed"):
        job.get_by_role("button", name="Cancel").click()
    expect(job).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text("coat.png: cancelled")
    assert len(held) == 1


def test_an_image_that_is_too_large_is_scaled_down(signed_in):
    page = signed_in()
    large = png(Image.effect_noise((2400, 2300), 80), compress_level=0)
    assert len(large) > 5 * 2**20
    page.locator("#file").set_input_files(file("large.png", large))
    expect(page.locator(".result .steps")).to_contain_text("2048 x ")


def noise(width: int, height: int, mode: str = "L", alpha: int | None = None) -> bytes:
    """A PNG of about as many bytes as values; a corner of it has this alpha."""
    image = Image.effect_noise((width, height), 80).convert(mode)
    if alpha is not None:
        image.putalpha(255)
        image.paste((0, 0, 0, alpha), (0, 0, 200, 200))
    return png(image, compress_level=0)


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        pytest.param(noise(1500, 1100), "image/png", id="as-it-is"),
        pytest.param(noise(8200, 200), "image/jpeg", id="too-wide"),
        pytest.param(noise(1400, 1300, "RGBA"), "image/jpeg", id="opaque"),
        pytest.param(noise(1400, 1300, "RGBA", alpha=0), "image/webp", id="transparent"),
    ],
)
def test_an_image_beyond_the_limits_is_scaled_down_before_it_is_sent(signed_in, content, sent):
    page = signed_in()
    page.evaluate(REMEMBER_WHAT_IS_SENT)
    page.locator("#file").set_input_files(file("large.png", content))
    expect(page.locator(".result")).to_have_count(1)
    assert page.evaluate("window.sent") == sent


def test_an_answer_that_is_no_page_is_named(signed_in):
    page = signed_in()
    page.route("**/predict", lambda route: route.fulfill(status=502, json={}))
    choose(page, file())
    expect(page.locator(".job.wrong .state")).to_have_text(
        "The server cannot answer now (status 502). Try again in a moment."
    )


def test_visitors_are_asked_to_sign_in_and_keep_what_they_dropped(visit):
    page = visit()
    page.goto("/")
    page.evaluate(GIVE, ["drop", "coat.png", base64.b64encode(IMAGE).decode()])
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("admin")
    dialog.get_by_label("Password").fill("guess")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Password").fill("password")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_be_hidden()
    expect_answer(page)
    expect(page.get_by_role("banner")).to_contain_text("Sign out")
    page.evaluate(GIVE, ["drop", "again.png", base64.b64encode(IMAGE).decode()])
    expect(page.locator(".result")).to_have_count(2)


def test_without_signing_in_the_file_shows_why_it_failed(visit):
    page = visit()
    page.goto("/")
    choose(page, file())
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.locator(".job.wrong .state")).to_have_text("You are not signed in.")


def test_closing_the_dialog_answers_for_all_files(visit):
    page = visit()
    page.goto("/")
    choose(page, *[file(f"{number}.png") for number in range(6)])
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.locator(".job.wrong .state")).to_have_text(["You are not signed in."] * 6)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_feedback_after_the_session_has_ended_asks_to_sign_in(visit):
    page = visit()
    sign_in(page, *ADA)
    page.wait_for_url("/")
    choose(page, file())
    expect_answer(page)
    number = page.locator(".feedback").get_attribute("id").removeprefix("feedback-")
    page.goto(f"/history/{number}")
    page.context.clear_cookies()
    page.get_by_role("button", name="Yes").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(ADA[0])
    dialog.get_by_label("Password").fill(ADA[1])
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.locator(".feedback")).to_contain_text("You confirmed this prediction.")


def test_too_many_failed_log_ins_show_how_long_to_wait(signed_in, visit):
    signed_in()  # admin is then known at this address, with a budget of its own
    page = visit()
    sign_in(page, *ADA)  # as is she, for the tests that follow
    page.wait_for_url("/")
    page.context.clear_cookies()
    page.goto("/login")
    for _ in range(20):
        page.request.post("/login", form={"name": "mallory"}, headers={"Sec-Fetch-Site": "same-origin"})
    sign_in(page, "mallory", "guess")
    expect(page.get_by_role("alert")).to_have_text(
        re.compile(r"^Too many failed log-ins\. Try again in (4 min( \d+ s)?|5 min)\.$")
    )
    sign_in(page)
    page.wait_for_url("/")


def test_without_javascript(visit):
    page = visit(java_script_enabled=False)
    page.goto("/")
    page.get_by_label("Choose an image").set_input_files(file())
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".detail")).to_have_text("Sign in first, then try again.")
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("password")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Choose an image").set_input_files(file())
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".result h2")).to_have_text(re.compile(r" %$"))
    expect(page.locator(".bars li")).to_have_count(10)
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".feedback")).to_contain_text("You confirmed this prediction.")
    page.get_by_role("link", name="Your history").click()
    expect(page.get_by_text("Confirmed", exact=True)).to_be_visible()
    page.get_by_role("button", name="Delete").last.click()
    page.goto("/")
    page.get_by_role("button", name="Ankle boot").click()
    expect(page.locator(".steps")).to_contain_text("used as is")
    page.goto("/")
    page.get_by_label("Choose an image").set_input_files(file(content=b"text"))
    page.get_by_role("button", name="Classify").click()
    expect(page.locator(".detail")).to_have_text("The file is not an image, expected PNG, JPEG, WebP, AVIF or HEIC.")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("banner").get_by_role("link", name="Sign in")).to_be_visible()


def test_the_keyboard_is_enough(signed_in):
    page = signed_in()

    def tab() -> str:
        page.keyboard.press("Tab")
        return page.evaluate("document.activeElement.id || document.activeElement.innerText.trim()")

    assert [tab() for _ in range(6)] == ["Skip to content", "Fashion-MNIST", "History", "Admin", "Sign out", "file"]
    assert page.locator(".choose").evaluate("label => getComputedStyle(label).outlineStyle") == "solid"
    # Headless Chromium opens the system's dialog only now and then, so check the click that would open it.
    page.locator("#file").evaluate("input => input.onclick = event => { window.pressed = event.isTrusted; }")
    page.keyboard.press("Space")
    page.wait_for_function("window.pressed")
    page.locator("#file").set_input_files([file()])
    expect_answer(page)
    while tab() != "Yes":
        pass
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    expect(page.get_by_role("status")).to_contain_text("You confirmed this prediction.")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_pages_are_accessible(visit, scheme, width):
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 800})

    def check() -> None:
        found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.goto("/")
    check()
    choose(page, file())
    page.get_by_role("dialog").get_by_label("Name").wait_for()
    check()
    sign_in(page, password="guess")
    check()
    sign_in(page)
    page.wait_for_url("/")
    page.locator("#file").set_input_files([file(), file("notes.txt", b"") | {"mimeType": "text/plain"}])
    expect_answer(page)
    page.get_by_text("No, correct it").click()
    check()
    page.get_by_label("Correct class").select_option("Something else")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    for path in ("/history", "/admin", "/nothing"):
        page.goto(path)
        check()
    page.goto("/history")
    page.locator(".history h2 a").first.click()
    check()
    page.goto("/history")
    page.get_by_text("Delete all").first.click()
    page.get_by_role("button", name="Delete all").click()
    page.get_by_text("Nothing here yet").wait_for()
    check()


def test_the_first_page_is_small(visit):
    page = visit()
    sizes = {}
    page.on("response", lambda answer: sizes.update({answer.request.resource_type: len(answer.body())}))
    page.goto("/", wait_until="networkidle")
    assert set(sizes) <= {"document", "stylesheet", "script", "image", "other"}
    assert sizes["document"] + sizes["stylesheet"] + sizes["script"] < MAX_BYTES
    assert page.locator("script, link[rel=stylesheet]").count() == 2


def test_the_example_programs_are_copied_and_work(visit, tmp_path):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/")
    (tmp_path / "image.jpg").write_bytes(IMAGE)
    for title, changes in (("curl", {"NAME": "admin:password"}), ("Python", {"NAME": "admin", "PASSWORD": "password"})):
        page.get_by_role("button", name="Copy").nth(int(title == "Python")).click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        program = page.evaluate("navigator.clipboard.readText()")
        for old, new in changes.items():
            program = program.replace(old, new)
        command = ["sh", "-c", program] if title == "curl" else [sys.executable, "-c", program]
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert any(name in said for name in CLASSES)


@pytest.mark.parametrize("path", ["/history/delete", "/predict", "/logout", "/login"])
def test_another_site_cannot_act_for_a_signed_in_user(signed_in, site, path):
    page = signed_in()
    form = f'<form action="{site}{path}" method="post"><input name="name" value="x"></form>'
    page.route("http://evil.example/", lambda route: route.fulfill(content_type="text/html", body=form))
    page.goto("http://evil.example/")
    with page.expect_navigation() as navigation:
        page.evaluate("document.forms[0].submit()")
    assert navigation.value.status == 403
    expect(page.locator(".detail")).to_have_text("Requests from other sites are not accepted.")
    page.goto("/history")
    expect(page).to_have_url(f"{site}/history")


@pytest.mark.parametrize("java_script_enabled", [True, False])
def test_over_plain_http_the_origin_header_suffices(visit, site, java_script_enabled):
    page = visit(java_script_enabled=java_script_enabled)
    sent = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    address = site.replace("127.0.0.1", "fashion.test")
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill(ADA[0])
    page.get_by_label("Password").fill(ADA[1])
    page.locator("#login").get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")
    page.get_by_role("button", name="Ankle boot").click()
    expect(page.locator(".result")).to_have_count(1)
    assert [request.all_headers().get("origin") for request in sent] == [address] * 2
    assert not any("sec-fetch-site" in request.all_headers() for request in sent)


def test_another_site_cannot_frame_the_page(signed_in, site):
    page = signed_in()
    frame = f'<iframe src="{site}/history"></iframe>'
    page.route("http://evil.example/", lambda route: route.fulfill(content_type="text/html", body=frame))
    page.goto("http://evil.example/")
    page.wait_for_timeout(300)
    assert "Your history" not in page.frames[1].content()
