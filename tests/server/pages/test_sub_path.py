"""The page below a path of another site: a real nginx with TLS, as docs/deploying.md configures it, and Chromium."""

import http.client
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from services import free_port
from serving import CLASSES, Server, basic, form, png

from fashion.paths import PROJECT
from fashion.server.storage.accounts import Accounts

IMAGE = png(Image.effect_noise((90, 120), 80).convert("RGB"))
NAME, PASSWORD = "ada", "a long password"
HOST = "fashion.test"  # the browser of these tests finds it on this machine


@pytest.fixture(scope="module")
def certificate(starts_processes, tmp_path_factory) -> Path:
    """A certificate that nobody but the test trusts; its key is beside it."""
    tmp_path = tmp_path_factory.mktemp("tls")
    subject = ["-subj", f"/CN={HOST}", "-days", "1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.pem")]
    subprocess.run(["openssl", "req", "-x509", *subject, *files], check=True, capture_output=True)
    return tmp_path / "tls.pem"


@pytest.fixture(scope="module")
def server(starts_processes, small_artifact, tmp_path_factory) -> Iterator[Server]:
    tmp_path = tmp_path_factory.mktemp("server")
    accounts = Accounts(f"sqlite:///{tmp_path}/fashion.db")
    accounts.upgrade()
    accounts.add(NAME, PASSWORD, role="admin")
    accounts.database.close()
    settings = ["server.trusted_proxies=1", f"server.allowed_hosts=[{HOST},127.0.0.1]", "server.keep_images=true"]
    started = Server(small_artifact, tmp_path, *settings)
    yield started.wait_until_ready()
    started.stop()


@pytest.fixture(scope="module")
def site(server, certificate, start_nginx) -> str:
    """The address of the server behind nginx."""
    port = free_port()
    (block,) = re.findall(r"^```nginx\n(.*?)^```", (PROJECT / "docs" / "deploying.md").read_text(), re.M | re.S)
    for shown, used in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/ssl/www.example.org.pem": str(certificate),
        "/etc/ssl/www.example.org.key": str(certificate.with_suffix(".key")),
        "www.example.org": HOST,
        "127.0.0.1:5000": f"127.0.0.1:{server.port}",
    }.items():
        assert shown in block
        block = block.replace(shown, used)
    start_nginx(block, port)
    return f"https://{HOST}:{port}/fashion"


def sign_in(page: Page) -> None:
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("#login").get_by_role("button", name="Sign in").click()


def test_the_whole_visit(browser, site, server):
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda answer: wrong.append(answer.url) if answer.status >= 400 else None)
    ours = (f"{site}/", "data:", "blob:")
    page.on("request", lambda sent: None if sent.url.startswith(ours) else wrong.append(sent.url))

    page.goto(f"{site}/history")
    expect(page).to_have_url(f"{site}/login?next=/fashion/history")
    sign_in(page)
    page.wait_for_url(f"{site}/history")
    (cookie,) = context.cookies()
    assert (cookie["name"], cookie["path"], cookie["secure"]) == ("__Secure-fashion", "/fashion", True)

    page.get_by_role("link", name="Upload an image").click()
    page.wait_for_url(f"{site}/")
    expect(page.locator("#curl")).to_contain_text(f"{site}/predict")
    page.locator("#file").set_input_files({"name": "coat.png", "mimeType": "image/png", "buffer": IMAGE})
    expect(page.locator(".result h2")).to_have_text(re.compile(" %$"))
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".feedback")).to_contain_text("You confirmed this prediction.")
    page.get_by_role("button", name=re.compile("Ankle boot")).click()
    expect(page.locator(".result")).to_have_count(2)
    page.get_by_role("link", name="History").click()
    page.wait_for_url(f"{site}/history")
    kept = page.locator("img.kept").last
    assert kept.evaluate("image => image.decode().then(() => image.naturalHeight)") == 120
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{site}/")
    assert context.cookies() == []

    # A visitor's upload asks for the log-in, which the script fetches.
    page.on("response", lambda answer: wrong.remove(answer.url) if answer.status == 401 else None)
    page.locator("#file").set_input_files({"name": "coat.png", "mimeType": "image/png", "buffer": IMAGE})
    page.get_by_role("dialog").get_by_label("Name").wait_for()
    sign_in(page)
    expect(page.locator(".result h2")).to_have_text(re.compile(" %$"))
    assert wrong == []

    context.close()


def test_programs_are_answered_below_the_sub_path(site, server, certificate):
    trusted = ssl.create_default_context(cafile=certificate)
    trusted.check_hostname = False
    port = urlsplit(site).port
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusted)
    host = {"Host": f"{HOST}:{port}"}
    connection.request("GET", "/fashion/openapi.json", headers=host)
    answer = connection.getresponse()
    assert answer.headers["Strict-Transport-Security"]
    assert json.loads(answer.read())["servers"] == [{"url": "/fashion"}]
    body, kind = form(("file", IMAGE))
    headers = {**host, **basic(NAME, PASSWORD), "Content-Type": kind, "X-Forwarded-For": "192.0.2.1"}
    connection.request("POST", "/fashion/predict", body, headers)
    assert json.loads(connection.getresponse().read())["predicted_class"] in CLASSES
    assert server.lines("request")[-1]["address"] == "127.0.0.1"
    connection.close()


def test_without_javascript(browser, site):
    context = browser.new_context(ignore_https_errors=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/login")
    sign_in(page)
    page.wait_for_url(f"{site}/")
    page.get_by_label("Choose an image").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": IMAGE})
    page.get_by_role("button", name="Classify").click()
    page.wait_for_url(f"{site}/predict")
    expect(page.locator(".result h2")).to_have_text(re.compile(" %$"))
    page.get_by_role("button", name="Yes").click()
    page.wait_for_url(re.compile(f"^{site}/history/"))
    context.close()
