"""``python scripts/serve.py`` as an operator runs it, over real HTTP."""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import redis
from hydra import compose, initialize_config_dir
from serving import ADMIN, SETTINGS, Server, basic, form, png

from fashion.paths import PROJECT
from fashion.server.process.worker import MAX_THREADS_PER_ADDRESS
from fashion.server.settings import MAX_BODY_BYTES, MAX_TEXT_BYTES, Settings
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.database import DEFAULT_DATABASE_URL
from fashion.server.storage.prediction_history import PredictionHistory

IMAGE = png(np.arange(784, dtype=np.uint8).reshape(28, 28))


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress(bytes(((width + 7) // 8 + 1) * height)) if width * height < 2e8 else zlib.compress(bytes(9))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def answer_on(connection: socket.socket) -> bytes:
    """Everything that comes until the server closes."""
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def test_it_serves_and_leaves_no_run_folder(server: Server):
    answer = server.predict(IMAGE)
    assert answer.status == 200
    assert answer.headers["Server"] == "gunicorn"
    assert set(os.listdir(server.folder)) <= {"server.log", "fashion.db", "fashion.db-wal", "fashion.db-shm"}
    assert any("log in as admin with the password password" in line for line in server.log().splitlines())


@pytest.mark.parametrize("size", [(60_000, 60_000), (13_000, 13_000), (8_000, 8_000)])
def test_images_that_would_fill_the_memory_are_refused_undecoded(server: Server, size):
    server.predict(huge_png(100, 100))
    assert "decode_ms" in server.lines("request")[-1]
    before = server.resident_mebibytes()
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(server.predict, [huge_png(*size)] * 4))
    assert {answer.status for answer in answers} == {422}
    assert all("decode_ms" not in line for line in server.lines("request")[-4:])
    assert server.resident_mebibytes() - before < 64


def test_a_chunked_body_over_the_limit_is_refused_while_it_is_read(server: Server):
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: {}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in ADMIN.items())
    connection = server.connect((head.format(form()[1]) + "\r\n").encode())
    start = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    connection.sendall(b"%x\r\n%s\r\n" % (len(start), start))
    piece = b"%x\r\n%s\r\n" % (65536, bytes(65536))
    sent = 0
    try:
        while sent < 64 * 2**20:
            connection.sendall(piece)
            sent += 65536
    except OSError:
        pass  # the server has hung up
    assert sent < 16 * 2**20
    assert server.lines("request")[-1]["status"] == 413


@pytest.mark.parametrize("too_many", [0, 1])
def test_a_chunked_body_may_be_as_large_as_any_other(server: Server, too_many):
    tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    image, kind = form(("file", IMAGE))
    starts = {
        ("/predict", kind): (image, 200),
        ("/v2/models/fashion_mnist/infer", "application/json"): (json.dumps({"inputs": [tensor]}).encode(), 200),
    }
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        for (path, kind), (start, status) in starts.items():
            body = iter([start.ljust(MAX_BODY_BYTES), b" " * too_many])  # an iterator is sent in chunks
            connection.request("POST", path, body, {**ADMIN, "Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
            assert (path, answer.status) == (path, 413 if too_many else status)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("too_many", [0, 1])
def test_a_form_of_text_is_limited_before_it_is_split(server: Server, too_many, chunked):
    body = b"name=admin&password=password".ljust(MAX_TEXT_BYTES + too_many, b"&")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", "/login", iter([body]) if chunked else body, headers)
        assert connection.getresponse().status == (413 if too_many else 303)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n", 501),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
    ],
)
def test_malformed_http_gets_the_same_headers(server: Server, sent, status):
    head, _, body = answer_on(server.connect(sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Security-Policy: default-src 'none'" in head
    assert json.loads(body)["status"] == status
    assert b"gunicorn" not in body


def test_malformed_chunks_are_the_clients_fault(server: Server):
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: {form()[1]}\r\n"
    head += f"Authorization: {ADMIN['Authorization']}\r\n\r\n"
    received = answer_on(server.connect(head.encode() + b"zz\r\n\r\n"))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"The body's chunks are malformed." in received


def test_expect_100_continue_is_answered(server: Server):
    body, kind = form(("file", IMAGE))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: {kind}\r\nAuthorization: {ADMIN['Authorization']}\r\nConnection: close\r\n\r\n"
    connection = server.connect(head.encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.sendall(body)
    assert answer_on(connection).startswith(b"HTTP/1.1 200 ")


def test_stalled_clients_are_disconnected_and_block_nobody(server: Server):
    body, kind = form(("file", IMAGE))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: {ADMIN['Authorization']}\r\n"
    silent = [server.connect() for _ in range(40)]
    in_head = [server.connect(head.encode()) for _ in range(40)]
    in_body = [server.connect(f"{head}\r\n".encode() + body[:50]) for _ in range(40)]
    started = time.monotonic()
    while time.monotonic() - started < 2:
        assert server.predict(IMAGE, timeout=2).status == 200
        for connection in in_head:
            connection.sendall(b"X-Trickle: 1\r\n")  # steady, but never done
        time.sleep(0.3)
    for connection in in_head:
        assert answer_on(connection) == b""
    for connection in in_body:
        assert answer_on(connection).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 10  # the limit of this server is three seconds
    for connection in silent:
        connection.close()
    assert server.predict(IMAGE).status == 200


def test_one_address_cannot_hold_every_thread(server: Server):
    many = [server.connect(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n") for _ in range(300)]
    body, kind = form(("file", IMAGE))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: {ADMIN['Authorization']}\r\nConnection: close\r\n\r\n"
    other = server.connect(head.encode() + body, source="127.0.0.2", timeout=2)
    assert answer_on(other).startswith(b"HTTP/1.1 200 ")
    waiting = [connection for connection in many if connection not in select.select(many, [], [], 0)[0]]
    assert len(waiting) >= MAX_THREADS_PER_ADDRESS  # none of them was closed before
    for connection in many:
        connection.close()


def test_clients_that_never_read_are_disconnected(server: Server):
    connection = server.connect()
    connection.setblocking(False)
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
    given_up = False
    end = time.monotonic() + 15  # the limit of this server is three seconds
    while time.monotonic() < end and not given_up:
        try:
            connection.send(request)
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            given_up = True
    assert given_up


def test_sigterm_finishes_what_is_in_flight(start_server):
    server = start_server().wait_until_ready()
    body, kind = form(("file", IMAGE))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: {ADMIN['Authorization']}\r\n\r\n"
    halves = [server.connect(head.encode() + body[:100]) for _ in range(5)]
    kept = server.connect(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
    time.sleep(0.3)
    server.process.terminate()
    time.sleep(0.5)
    kept.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"HTTP/1.1 503 " in answer_on(kept)
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    for connection in halves:
        connection.sendall(body[100:])
    for connection in halves:
        assert answer_on(connection).startswith(b"HTTP/1.1 200 ")
    assert server.process.wait(timeout=30) == 0
    with contextlib.closing(sqlite3.connect(server.folder / "fashion.db")) as database:
        assert database.execute("select count(*) from requests where status = 200").fetchone()[0] == 5


def test_requests_that_meet_sigterm_are_answered_or_refused_never_dropped(start_server):
    server = start_server().wait_until_ready()
    outcomes = []

    def ask(_):
        while True:
            try:
                outcomes.append(server.predict(IMAGE).status)
            except OSError as error:
                outcomes.append(type(getattr(error, "reason", error)).__name__)
                return

    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        waiting = clients.map(ask, range(8))
        time.sleep(1)
        server.process.terminate()
        list(waiting)
    assert server.process.wait(timeout=30) == 0
    # A connection that the system took while the socket was being closed is reset; the server never saw it.
    assert {200} < set(outcomes) <= {200, "ConnectionRefusedError", "ConnectionResetError"}
    assert outcomes.count(200) == sum(line["route"] == "/predict" for line in server.lines("request"))


def test_invented_methods_are_one_series_of_the_metrics(server: Server):
    for number in range(3):
        head = f"NONSENSE{number} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer_on(server.connect(head.encode()))
    metrics = server.request("/metrics").body.decode()
    assert 'fashion_requests_total{method="(other)",route="(none)",status="405"} 3.0' in metrics
    assert "NONSENSE" not in metrics + server.log()


def test_the_folder_of_another_programs_metrics_is_left_alone(start_server, tmp_path, monkeypatch):
    (tmp_path / "counter.db").write_text("theirs")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    server = start_server().wait_until_ready()
    assert server.request("/metrics").status == 200
    assert server.stop() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["counter.db"]


def test_images_that_are_no_longer_kept_are_deleted_though_nobody_opens_a_page(start_server, tmp_path):
    accounts = Accounts(f"sqlite:///{tmp_path}/fashion.db")
    accounts.upgrade()
    accounts.add("ann", "a long password")
    before = PredictionHistory(accounts.database, Settings(**{**SETTINGS, "keep_images": True}))
    number = before.add("ann", "r", "0" * 64, "v", "Coat", 0.5, "accept", b"a JPEG")
    start_server(folder=tmp_path).wait_until_ready()
    end = time.monotonic() + 10
    while before.image(number, "ann") and time.monotonic() < end:
        time.sleep(0.1)
    assert before.image(number, "ann") is None
    accounts.database.close()


def test_a_killed_worker_comes_back(start_server):
    server = start_server().wait_until_ready()
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while server.workers() in ([], [worker]) and time.monotonic() < deadline:
        time.sleep(0.1)
    server.wait_until_ready()
    assert server.workers() != [worker]
    assert server.predict(IMAGE).status == 200


def test_several_processes_share_metrics_and_failed_logins(start_server, redis_url):
    server = start_server("server.processes=2", f"server.redis_url={redis_url}").wait_until_ready()
    while len(server.lines("ready")) < 2:
        time.sleep(0.1)
    assert server.predict(IMAGE).status == 200
    statuses = []
    for number in range(24):
        headers = {**basic("somebody", f"guess {number}"), "Content-Type": form()[1]}
        statuses.append(server.request("/predict", b"", headers).status)
    assert statuses == [401] * 20 + [429] * 4
    assert len(server.workers()) == 2
    assert "fashion_login_failures_total 20.0" in server.request("/metrics").body.decode()

    redis.Redis.from_url(redis_url).execute_command("CLIENT", "PAUSE", 3000, "ALL")
    answer = server.predict(IMAGE)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "failed log-ins cannot be counted" in server.log()
    unready = server.request("/readyz")
    assert unready.status == 200 or "Redis is unavailable" in unready.json["detail"]
    while server.predict(IMAGE).status == 503:
        time.sleep(0.1)
    assert 1 <= server.log().count("failed log-ins cannot be counted") <= 2  # once a minute from each process
    lost = 0
    os.kill(server.workers()[0], signal.SIGKILL)
    while len(server.lines("ready")) < 3:
        try:
            assert server.predict(IMAGE).status == 200  # never the new worker's "not ready"
        except OSError:
            lost += 1
    assert lost <= 1
    assert server.predict(IMAGE).status == 200


def test_guesses_at_once_are_limited_and_keep_nobody_else_waiting(server: Server):
    body, kind = form(("file", IMAGE))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    head += "Connection: close\r\nAuthorization: {}\r\n\r\n"
    guessing = []
    for number in range(50):
        sent = head.format(basic("nobody", f"guess {number}")["Authorization"]).encode() + body
        guessing.append(server.connect(sent, source="127.0.0.9", timeout=60))
    assert server.predict(IMAGE, timeout=5).status == 200
    statuses = [int(answer_on(connection).split()[1]) for connection in guessing]
    assert sorted(statuses) == [401] * 20 + [429] * 30


def test_a_worker_without_a_free_descriptor_waits_for_one(server: Server):
    (worker,) = server.workers()
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{worker}/fd")) + 10, before[1]))
    held = []
    try:
        # However many of those are left: the worker may still have been closing connections of the test before.
        while "cannot accept a connection (Too many open files)" not in server.log():
            held.append(server.connect(b"GET /"))
            time.sleep(0.02)
    finally:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    for connection in held:
        connection.close()
    assert server.predict(IMAGE).status == 200
    assert server.workers() == [worker]


@pytest.fixture
def refused(run_command, small_artifact, tmp_path):
    """Run the command with settings that it must refuse; return its one line."""

    def run(*settings: str, artifact_folder=small_artifact) -> str:
        arguments = [f"artifact={artifact_folder}", f"server.database_url=sqlite:///{tmp_path}/fashion.db", *settings]
        finished = run_command("serve.py", *arguments, timeout=60)
        assert finished.returncode == 2, finished.stderr
        (line,) = (text for text in finished.stderr.splitlines() if not text.startswith("{"))
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["server.port=70000"], "server.port: got 70000, expected less than 65536"),
        (["server.prot=80"], "server.prot: there is no such key; server has .* did you mean server.port?"),
        (["server.threads=many"], "server.threads: got 'many', expected a valid integer"),
        (["server=null"], "server: got null"),
        (["backend=torch"], "backend: got 'torch', expected 'jax' or 'tensorflow'"),
        (["server.processes=2"], "server.redis_url: got null with server.processes=2, expected a Redis"),
        (["server.redis_url=redis://127.0.0.1:1/0"], "server.redis_url: no Redis answers there"),
        (["artifact=/nowhere"], "/nowhere: there is no such model file"),
        (["server.database_url=mysql://x/y"], ".*expected sqlite:///FILE or postgresql:"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(refused, settings, message):
    assert re.match(message, refused(*settings))


@pytest.mark.parametrize("settings", [["server.host=0.0.0.0"], ["server.host=::"], ["server.trusted_proxies=1"]])
def test_the_default_password_is_never_reachable_from_elsewhere(refused, tmp_path, settings):
    assert "there are no accounts; add one with python scripts/users.py add NAME" in refused(*settings)
    accounts = Accounts(f"sqlite:///{tmp_path}/fashion.db")
    accounts.create_default()
    accounts.database.close()
    assert "the account admin still has the password password" in refused(*settings)


def test_with_other_accounts_it_listens_on_any_address(start_server, tmp_path):
    accounts = Accounts(f"sqlite:///{tmp_path}/fashion.db")
    accounts.upgrade()
    accounts.add("ada", "a long password", role="admin")
    accounts.database.close()
    server = start_server("server.host=0.0.0.0", folder=tmp_path).wait_until_ready()
    assert server.predict(IMAGE).status == 401
    assert server.predict(IMAGE, **basic("ada", "a long password")).status == 200


@pytest.fixture
def changed_artifact(small_artifact, tmp_path):
    """Copy the artifact, change a member of the model file, and let the card agree with it."""

    def change(member: str, edit: Callable[[bytes], bytes]) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(small_artifact, folder)
        model, card = folder / "fashion_mnist_model.keras", folder / "fashion_mnist_model.json"
        with zipfile.ZipFile(model) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members[member] = edit(members[member])
        with zipfile.ZipFile(model, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        card.write_text(json.dumps({**json.loads(card.read_text()), "sha256": digest}))
        return folder

    return change


def test_a_model_that_is_not_the_cards_is_refused(refused, small_artifact, tmp_path):
    shutil.copytree(small_artifact, tmp_path / "changed")
    with (tmp_path / "changed" / "fashion_mnist_model.keras").open("ab") as file:
        file.write(b"x")
    assert "the card beside it was written for" in refused(artifact_folder=tmp_path / "changed")


@pytest.mark.parametrize(("module", "name"), [("keras.layers", "Lambda"), ("somewhere.else", "Dense")])
def test_a_model_with_code_of_its_own_is_refused(refused, changed_artifact, module, name):
    def edit(content: bytes) -> bytes:
        config = json.loads(content)
        config["config"]["layers"][1] |= {"module": module, "class_name": name}
        return json.dumps(config).encode()

    line = refused(artifact_folder=changed_artifact("config.json", edit))
    assert f"contains {module}.{name}, expected only Keras's own layers; not loaded" in line


def test_a_model_that_keras_cannot_load_stops_the_server(refused, changed_artifact):
    folder = changed_artifact("model.weights.h5", lambda content: content[:500])
    assert "Keras cannot load it" in refused("server.port=0", artifact_folder=folder)


def test_an_old_h5_file_is_refused(refused, tmp_path):
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert "got a .h5 file, expected a .keras file" in refused(artifact_folder=tmp_path / "model.h5")


def test_a_taken_port_is_one_line(refused, server: Server):
    assert f"server.port={server.port}" in refused(f"server.port={server.port}")


@pytest.mark.process
def test_the_master_never_imports_keras():
    program = "import fashion.server.process.master, fashion.server.security.authentication, sys; "
    program += "import fashion.server.serving_settings; "
    program += "print({'keras', 'jax', 'tensorflow'} & set(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT)
    assert finished.stdout.strip() == "set()", finished.stderr


def test_help_explains_the_command(run_command):
    run = run_command("serve.py", "--help")
    assert run.returncode == 0
    assert "server.port=8080" in run.stdout


def test_the_users_command_has_the_same_default_database():
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        assert compose("serve").server.database_url == DEFAULT_DATABASE_URL


def test_the_environment_gives_the_settings_and_the_first_account(start_server, tmp_path, monkeypatch):
    (tmp_path / "password").write_text("correct horse battery\n")
    monkeypatch.setenv("FASHION_HOST", "0.0.0.0")
    monkeypatch.setenv("FASHION_PORT", "1")  # the command line wins
    monkeypatch.setenv("FASHION_ADMIN_PASSWORD_FILE", str(tmp_path / "password"))
    server = start_server(folder=tmp_path).wait_until_ready()
    assert server.predict(IMAGE).status == 401
    assert server.predict(IMAGE, **basic("admin", "correct horse battery")).status == 200
    assert server.lines("the account admin was created with the password of FASHION_ADMIN_PASSWORD_FILE")
    assert "correct horse battery" not in server.log()


def test_an_error_about_a_setting_names_its_variable(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_HOST", "0.0.0.0")
    line = refused()
    assert "there are no accounts" in line
    assert line.endswith("server.host is set by FASHION_HOST")
    monkeypatch.setenv("FASHION_PORT", "http")
    assert refused().startswith("FASHION_PORT: got 'http', expected a valid integer")


def test_the_first_password_changes_no_account(refused, tmp_path, monkeypatch):
    accounts = Accounts(f"sqlite:///{tmp_path}/fashion.db")
    accounts.upgrade()
    accounts.create_default()
    monkeypatch.setenv("FASHION_ADMIN_PASSWORD", "correct horse battery")
    assert "the account admin still has the password password" in refused("server.host=0.0.0.0")
    assert accounts.has_default_account()
    accounts.database.close()


def test_a_platform_needs_no_account(start_server, monkeypatch):
    monkeypatch.setenv("FASHION_PLATFORM", "sagemaker")
    server = start_server().wait_until_ready()
    assert server.request("/ping").status == 200
    answer = server.request("/invocations", IMAGE, {"Content-Type": "image/png"})
    assert answer.status == 200
    assert answer.json["probabilities"]
    assert server.predict(IMAGE).status == 401  # there is no account, not even the default one
    (line,) = [line for line in server.log().splitlines() if "open without a log-in" in line]
    assert "GET /ping and POST /invocations" in line
    assert f"0.0.0.0:{server.port}" in line
