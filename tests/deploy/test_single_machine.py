"""deploy/systemd and deploy/caddy, for one machine: systemd checks the unit, and a real Caddy serves the page."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml
from PIL import Image
from services import free_port, missing
from serving import Server, basic, form, png

from fashion.paths import PROJECT
from fashion.server.storage.accounts import Accounts

UNIT = PROJECT / "deploy" / "systemd" / "fashion.service"
CADDYFILE = PROJECT / "deploy" / "caddy" / "Caddyfile"
HOST = "www.example.org"
MAX_EXPOSURE = "15"  # tenths, of systemd's scale from 0 to 10; services of a distribution have 90 or more
STARTS_WITHIN = 30.0


@pytest.fixture(scope="module")
def systemd_analyze(starts_processes) -> str:
    return shutil.which("systemd-analyze") or missing("systemd-analyze")


def test_the_unit_is_valid_and_sandboxed(systemd_analyze, tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/fashion/.venv/bin/python", "/bin/true"))
    for command in (["verify", "--man=no"], ["security", "--offline=true", f"--threshold={MAX_EXPOSURE}"]):
        finished = subprocess.run([systemd_analyze, *command, unit], capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert finished.stderr == ""  # where it warns of what it does not know
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHme=yes"))
    finished = subprocess.run([systemd_analyze, "verify", "--man=no", unit], capture_output=True, text=True)
    assert "ProtectHme" in finished.stderr


def test_the_command_of_the_unit_exists():
    (command,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    python, script = command.split()
    assert python == "/opt/fashion/.venv/bin/python"  # which `make install` makes in /opt/fashion
    assert (PROJECT / script.removeprefix("/opt/fashion/")).exists()


class LocalSite(http.client.HTTPSConnection):
    """A connection by the site's name to this machine, with whatever certificate."""

    def connect(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        try:
            self.sock = context.wrap_socket(raw, server_hostname=HOST)
        except OSError:
            raw.close()
            raise

    def connect_within(self, seconds: float) -> None:
        """Connect as soon as Caddy listens and has signed its certificate."""
        until = time.monotonic() + seconds
        while True:
            try:
                return self.connect()
            except OSError:
                assert time.monotonic() < until, "Caddy did not start"
                time.sleep(0.1)


@pytest.fixture(scope="module")
def site(starts_processes, small_artifact, tmp_path_factory) -> Iterator[LocalSite]:
    """A connection to the server behind Caddy, which signs its own certificate."""
    program = shutil.which("caddy") or missing("caddy")
    folder = tmp_path_factory.mktemp("caddy")
    accounts = Accounts(f"sqlite:///{folder}/fashion.db")
    accounts.upgrade()
    accounts.add("admin", "a long password", role="admin")
    accounts.database.close()
    server = Server(small_artifact, folder, "server.trusted_proxies=1", f"server.allowed_hosts=[{HOST}]")
    port = free_port()
    text = CADDYFILE.read_text()
    assert f"\n{HOST} {{\n" in text
    local = "{\n admin off\n auto_https disable_redirects\n skip_install_trust\n local_certs\n}\n"
    configuration = folder / "Caddyfile"
    configuration.write_text(local + text.replace(f"\n{HOST} {{", f"\n{HOST}:{port} {{\nbind 127.0.0.1\n"))
    environment = {
        **os.environ,
        "UPSTREAM": f"127.0.0.1:{server.port}",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    command = [program, "run", "--adapter", "caddyfile", "--config", configuration]
    with (folder / "log").open("wb") as log:
        caddy = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        server.wait_until_ready()
        connection = LocalSite(HOST, port)
        connection.connect_within(STARTS_WITHIN)
        yield connection
        connection.close()
    finally:
        caddy.send_signal(signal.SIGTERM)
        caddy.wait(STARTS_WITHIN)
        server.stop()


def ask(site: LocalSite, method: str, path: str, body: bytes | None = None, **headers: str):
    site.request(method, path, body, {"Host": HOST, **headers})
    answer = site.getresponse()
    return answer, answer.read()


def test_caddy_serves_the_page_over_tls(site):
    answer, page = ask(site, "GET", "/login", **{"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example"})
    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"]
    assert b"evil" not in page
    fields = b"name=admin&password=a+long+password"
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    answer, _ = ask(site, "POST", "/login", fields, **kind)
    assert answer.status == 303
    assert answer.headers["Set-Cookie"].startswith("__Host-fashion=")
    assert "Secure" in answer.headers["Set-Cookie"]


def test_caddy_forwards_images(site):
    headers = {"Authorization": "Basic YWRtaW46YSBsb25nIHBhc3N3b3Jk"}
    body, kind = form(("file", png(Image.new("L", (28, 28)))))
    answer, content = ask(site, "POST", "/predict", body, **headers, **{"Content-Type": kind})
    assert answer.status == 200
    assert json.loads(content)["predicted_class"]


def test_a_forged_client_address_does_not_evade_the_log_in_limit(site):
    """Caddy discards the X-Forwarded-For of a client, so guesses count for its real address."""
    statuses = []
    for guess in range(21):
        forged = {**basic("admin", "a guess"), "X-Forwarded-For": f"192.0.2.{guess}"}
        answer, _ = ask(site, "GET", "/metrics", **forged)
        statuses.append(answer.status)
    assert statuses == [401] * 20 + [429]


def test_the_compose_file_has_this_proxy_in_front():
    compose = yaml.safe_load((PROJECT / "deploy" / "compose" / "compose.yaml").read_text())
    server, proxy = compose["services"]["server"], compose["services"]["proxy"]
    assert "ports" not in server
    assert proxy["environment"]["UPSTREAM"] == "server:8080"
    assert "../caddy/Caddyfile:/etc/caddy/Caddyfile:ro" in proxy["volumes"]
    assert compose["networks"]["inside"] == {"internal": True}
    assert server["environment"]["FASHION_ALLOWED_HOSTS"] == HOST
