"""Requests per second and latency of the server, beside the seed program's and beside the limits.

All run as processes of their own and are asked over real HTTP, in turns, so that a change of the machine's mood meets
all of them.
"""

import base64
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fashion.errors import FashionError
from fashion.paths import PROJECT

CLIENTS = (1, 32)
STARTING_SECONDS = 180


def measure(artifact: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure all contenders with 1 and with 32 clients.

    Args:
        artifact: A ``.keras`` file with its card beside it, or the folder of a run.
        seconds: How long each is asked in one round.
        rounds: How often each has its turn.

    Returns:
        For each contender and number of clients the medians over the rounds of ``requests_per_second``, ``p50_ms`` and
        ``p99_ms``, the sum of ``errors``, and the single rounds. The contenders: ``this`` server; ``literal``, the
        seed program; ``no_inference``, this application with a constant for a model; ``bare``, the same gunicorn and
        upload with a view that does nothing.

    Raises:
        FashionError: When a contender does not start.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        request = Path(folder) / "request"
        request.write_bytes(_request())
        ports = {
            name: running.enter_context(_running(name, artifact, Path(folder)))
            for name in ("this", "literal", "no_inference", "bare")
        }
        outcomes: dict[str, dict[int, list[dict[str, float]]]] = {name: {n: [] for n in CLIENTS} for name in ports}
        for _ in range(rounds):
            for clients in CLIENTS:
                for name, port in ports.items():
                    outcomes[name][clients].append(_ask(port, clients, seconds, request))
    return {
        name: {str(clients): _summary(single) for clients, single in by_clients.items()}
        for name, by_clients in outcomes.items()
    }


def _summary(single: list[dict[str, float]]) -> dict[str, Any]:
    medians = {
        key: float(np.median([outcome[key] for outcome in single]))
        for key in ("requests_per_second", "p50_ms", "p99_ms")
    }
    return {**medians, "errors": sum(outcome["errors"] for outcome in single), "rounds": single}


def _command(name: str, artifact: Path, port: int, database_url: str) -> list[str]:
    match name:
        case "this":
            options = [f"artifact={artifact}", f"server.port={port}", f"server.database_url={database_url}"]
            return [sys.executable, str(PROJECT / "scripts" / "serve.py"), *options]
        case "literal":
            return [sys.executable, "-m", "fashion.benchmarks.literal_server", str(artifact), str(port)]
        case _:
            options = [name, str(artifact), str(port), database_url]
            return [sys.executable, "-m", "fashion.benchmarks.limit_server", *options]


@contextlib.contextmanager
def _running(name: str, artifact: Path, folder: Path) -> Iterator[int]:
    """Start a contender, wait until it predicts, and give its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database_url = f"sqlite:///{folder}/{name}.db"
    _make_account(database_url)
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            _command(name, artifact.absolute(), port, database_url),
            stdout=log,
            stderr=log,
            cwd=PROJECT,
            env={**os.environ, "KERAS_BACKEND": "tensorflow" if name == "literal" else "jax"},
        )
    try:
        end = time.monotonic() + STARTING_SECONDS
        while not _predicts(port):
            if process.poll() is not None or time.monotonic() > end:
                said = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
                raise FashionError(f"the server {name} does not answer: {said[-1] if said else 'it said nothing'}")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def _make_account(database_url: str) -> None:
    from fashion.server.accounts import Accounts

    accounts = Accounts(database_url)
    accounts.upgrade()
    accounts.create_default()
    accounts.database.close()


def _predicts(port: int) -> bool:
    head, _, body = _request().partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _ask(port: int, clients: int, seconds: float, request: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "fashion.benchmarks.load_client", port, clients, seconds, request]
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=PROJECT, check=True)
    return json.loads(finished.stdout)


def _request() -> bytes:
    """A whole HTTP request: a 28 x 28 PNG in a form, with the seed program's password."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    body = (
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="shoe.png"\r\nContent-Type: image/png\r\n\r\n'
        + stream.getvalue()
        + b"\r\n--XX--\r\n"
    )
    head = (
        "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Basic {base64.b64encode(b'admin:password').decode()}\r\n"
        f"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
