"""Closed-loop load: clients that send the next request after each response, over keep-alive connections.

``python -m fashion.benchmarks.load_client PORT CLIENTS SECONDS REQUEST_FILE`` prints the outcome as JSON.
"""

import json
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import TypedDict

import numpy as np


class LoadOutcome(TypedDict):
    """What all clients together measured; the percentiles are of the time from a request to its whole response."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


class Client:
    """One connection, one request after the other.

    Attributes:
        milliseconds: Time from each request to its whole response.
        errors: Number of responses that were not 200, or not whole.
    """

    def __init__(self, port: int, request: bytes, selector: selectors.BaseSelector) -> None:
        self._address = ("127.0.0.1", port)
        self._request = request
        self._selector = selector
        self._socket: socket.socket | None = None
        self.milliseconds: list[float] = []
        self.errors = 0
        self.send()

    def send(self) -> None:
        """Send the request; connect first if the last response closed the connection."""
        self._started = time.perf_counter()
        self._received = b""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        self._socket.sendall(self._request)

    def receive(self) -> None:
        """Read what has arrived; when the response is whole, record its time and send the next request."""
        if self._socket is None:
            return
        part = self._socket.recv(65536)
        self._received += part
        head, separator, body = self._received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:]) if separator else {}
        whole = bool(separator) and len(body) >= int(fields.get(b"content-length", 0))
        if part and not whole:
            return
        self.milliseconds.append((time.perf_counter() - self._started) * 1000)
        self.errors += not (whole and b" 200 " in head[:13])
        if not part or fields.get(b"connection") == b"close" or head.startswith(b"HTTP/1.0"):
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
        self.send()


def main() -> None:
    """Send requests for the given time, after a fifth of it as a warm-up, and print the outcome."""
    port, clients, seconds, request_file = sys.argv[1:]
    request = Path(request_file).read_bytes()
    selector = selectors.DefaultSelector()
    all_clients = [Client(int(port), request, selector) for _ in range(int(clients))]
    _run(selector, float(seconds) / 5)
    for client in all_clients:
        client.milliseconds.clear()
        client.errors = 0
    started = time.perf_counter()
    _run(selector, float(seconds))
    while not any(client.milliseconds for client in all_clients):  # slower than that: until the first response
        _run(selector, float(seconds))
    elapsed = time.perf_counter() - started
    milliseconds = np.concatenate([client.milliseconds for client in all_clients])
    p50, p99 = np.percentile(milliseconds, [50, 99])
    outcome: LoadOutcome = {
        "requests_per_second": len(milliseconds) / elapsed,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "errors": sum(client.errors for client in all_clients),
    }
    print(json.dumps(outcome))


def _run(selector: selectors.BaseSelector, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        for key, _ in selector.select(left):
            key.data.receive()


if __name__ == "__main__":
    main()
