"""gunicorn's master and worker with the project's limits, around a small application without a model."""

import contextlib
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from services import free_port

from fashion.server.process import worker
from fashion.server.process.worker import AddressLimit

LARGE = 64 * 2**20  # bytes, more than the buffers of a connection
PROGRAM = f"""
import sys, threading
from types import SimpleNamespace
from flask import Flask, request
from fashion.server.process import master, worker

worker.MAX_CONNECTIONS_PER_ADDRESS = 3
master.STOP_SECONDS, master.KILL_SECONDS = 1, 5

class Small(master.GunicornServer):
    def load(self):
        print("listening", file=sys.stderr, flush=True)
        app = Flask("small")
        app.add_url_rule("/", view_func=lambda: bytes({LARGE}))
        app.add_url_rule("/body", "body", view_func=lambda: str(len(request.get_data())), methods=["POST"])
        log = SimpleNamespace(close=lambda: print("stored the last requests", file=sys.stderr))
        app.services = SimpleNamespace(monitor=SimpleNamespace(request_log=log))
        return app

settings = SimpleNamespace(
    host="127.0.0.1", port=int(sys.argv[1]), processes=1, trusted_proxies=0, request_seconds=int(sys.argv[2])
)
Small(settings, SimpleNamespace(stopping=threading.Event(), ready=True), None).run()
"""


class Small:
    """The program as a process."""

    def __init__(self, request_seconds: int) -> None:
        self.port = free_port()
        command = [sys.executable, "-c", PROGRAM, str(self.port), str(request_seconds)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr.readline() == "listening\n"

    def connect(self, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60, source_address=(source, 0))
        connection.sendall(sent)
        return connection


@pytest.fixture
def start(starts_processes) -> Iterator[Callable[[int], Small]]:
    started = []

    def begin(request_seconds: int) -> Small:
        started.append(Small(request_seconds))
        return started[-1]

    yield begin
    for small in started:
        small.process.kill()
        small.process.communicate()


def test_a_client_that_reads_steadily_but_slowly_is_disconnected(start):
    received = 0
    connection = start(1).connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with connection, contextlib.suppress(ConnectionError):
        while part := connection.recv(2**18):
            received += len(part)
            time.sleep(0.05)
    assert 2**20 < received < LARGE


def test_one_address_cannot_have_every_connection(start):
    small = start(30)
    with contextlib.ExitStack() as held:
        kept = [held.enter_context(small.connect(b"GET", source="127.0.0.2")) for _ in range(3)]
        with contextlib.suppress(ConnectionError), small.connect(b"GET", source="127.0.0.2") as refused:
            assert refused.recv(1) == b""
        assert select.select(kept, [], [], 0)[0] == []  # none of them was closed before
        asking = b" / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert held.enter_context(small.connect(b"GET" + asking)).recv(12) == b"HTTP/1.1 200"
        kept[0].sendall(asking)
        while kept[0].recv(2**20):
            pass
        kept[0].close()
        while True:  # until the server has closed it, too
            with contextlib.suppress(ConnectionError), small.connect(b"GET" + asking, source="127.0.0.2") as again:
                if again.recv(12) == b"HTTP/1.1 200":
                    return


def test_a_worker_that_stops_does_not_wait_for_ever_and_stores_its_last_requests(start):
    small = start(60)
    head = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    with small.connect(head) as connection:
        assert connection.recv(12) == b"HTTP/1.1 100"  # and the rest never comes
        small.process.send_signal(signal.SIGTERM)
        _, log = small.process.communicate(timeout=60)
    assert small.process.returncode == 0
    assert "stored the last requests" in log


def test_a_connection_is_closed_before_its_thread_counts_as_free(monkeypatch):
    monkeypatch.setattr(worker.ThreadWorker, "handle", lambda *_: False)
    handling = object.__new__(worker.TimeLimitedWorker)
    handling._deadlines, handling._lock, handling._threads = {}, worker.threading.Lock(), AddressLimit(1)
    handling.app = type("App", (), {"settings": type("Settings", (), {"request_seconds": 1})})
    free = []

    class Connection:
        client, sock = ("192.0.2.1", 1), socket.socket()

        def close(self, graceful: bool = False) -> None:
            free.append(handling._threads.acquire("192.0.2.1"))

    with Connection.sock:
        assert handling.handle(Connection()) is False
    assert free == [False]
    assert handling._threads.acquire("192.0.2.1")


def test_an_ipv6_network_has_the_limit_of_one_address():
    limit = AddressLimit(2)
    assert [limit.acquire(address) for address in ("2001:db8::1", "2001:db8::2", "2001:db8::3")] == [True, True, False]
    assert limit.acquire("2001:db8:0:1::1")
    limit.release("2001:db8::1")
    assert limit.acquire("2001:db8::3")
    assert all(AddressLimit(None).acquire("192.0.2.1") for _ in range(3))
