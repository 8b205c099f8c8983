"""How fast the server answers, compared with the baseline and with servers that compute nothing, in one run.

All are asked over real HTTP and in turns, so that a change in the machine's load affects all of them.
"""

import base64
import contextlib
import io
import json
import mimetypes
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from fashion import machine
from fashion.artifact import verify
from fashion.benchmarks import child
from fashion.benchmarks.load_client import LoadOutcome
from fashion.benchmarks.progress import say
from fashion.errors import InputError
from fashion.exported import EXPORT_COMMAND, onnx_file
from fashion.figures import saved_figure
from fashion.palette import MUTED, PRIMARY
from fashion.paths import PROJECT

NAMES = {
    "baseline": "baseline, Flask's server",
    "this": "this project, Keras",
    "onnx": "the same, ONNX Runtime",
    "no_inference": "the same, constant model",
    "bare": "the same, empty view",
}
PACKAGES = ("flask", "gunicorn", "keras", "jax", "onnxruntime", "tensorflow-cpu")
CLIENTS = (1, 32)
STARTING_SECONDS = 180


class ContenderLoad(LoadOutcome):
    """One contender at one number of clients: medians over its turns, and the sum of errors."""

    turns: list[LoadOutcome]


class Ratios(TypedDict):
    """This server relative to another, by number of clients: medians over the rounds of the ratio within a round."""

    requests_per_second: dict[str, float]
    p99_ms: dict[str, float]


class ServingSpeed(TypedDict):
    """The result of the benchmark: ``contenders`` by name and number of clients, ``ratios`` by the other's name.

    The contenders: ``baseline``; ``this`` server; ``onnx``, the same with ``server.runtime=onnx``, if the model was
    exported; ``no_inference``, this application with a constant for a model; ``bare``, the same gunicorn and upload
    with a view that does nothing.
    """

    machine: machine.MachineDescription
    rounds: int
    seconds: float
    contenders: dict[str, dict[str, ContenderLoad]]
    ratios: dict[str, Ratios]


def measure(artifact: Path, seconds: float, rounds: int) -> ServingSpeed:
    """Measure all contenders with 1 and with 32 clients.

    Args:
        artifact: A ``.keras`` file with its card beside it, or the folder of a run.
        seconds: Length of one turn of each, after a warm-up.
        rounds: Turns of each.

    Raises:
        InputError: When the model is not what its card says, or a contender does not start.
    """
    names = list(NAMES)
    if not onnx_file(verify(artifact)[0]).exists():
        names.remove("onnx")
        say(f"ONNX Runtime is skipped; {EXPORT_COMMAND} artifact={artifact} makes its file")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        request = Path(folder) / "request"
        request.write_bytes(_request())
        ports = {name: servers.enter_context(running(name, artifact, Path(folder))) for name in names}
        turns: dict[str, dict[str, list[LoadOutcome]]] = {
            name: {str(clients): [] for clients in CLIENTS} for name in ports
        }
        for turn in range(rounds):
            for clients in CLIENTS:
                for name, port in ports.items():
                    outcome = run_clients(port, clients, seconds, request)
                    turns[name][str(clients)].append(outcome)
                    say(
                        f"round {turn + 1}/{rounds}  {clients:>2} clients  {NAMES[name]:<30}"
                        f"{outcome['requests_per_second']:7.0f} requests/s"
                    )
    return {
        "machine": machine.describe_machine(PACKAGES),
        "rounds": rounds,
        "seconds": seconds,
        "contenders": {
            name: {clients: _summarise(of_one) for clients, of_one in by_clients.items()}
            for name, by_clients in turns.items()
        },
        "ratios": {name: _ratios(turns["this"], turns[name]) for name in turns if name != "this"},
    }


def _summarise(turns: list[LoadOutcome]) -> ContenderLoad:
    return {
        "requests_per_second": statistics.median(turn["requests_per_second"] for turn in turns),
        "p50_ms": statistics.median(turn["p50_ms"] for turn in turns),
        "p99_ms": statistics.median(turn["p99_ms"] for turn in turns),
        "errors": sum(turn["errors"] for turn in turns),
        "turns": turns,
    }


def _ratios(this: dict[str, list[LoadOutcome]], other: dict[str, list[LoadOutcome]]) -> Ratios:
    rounds = {clients: list(zip(this[clients], other[clients], strict=True)) for clients in this}
    return {
        "requests_per_second": {
            clients: statistics.median(
                ours["requests_per_second"] / theirs["requests_per_second"] for ours, theirs in each
            )
            for clients, each in rounds.items()
        },
        "p99_ms": {
            clients: statistics.median(ours["p99_ms"] / theirs["p99_ms"] for ours, theirs in each)
            for clients, each in rounds.items()
        },
    }


def _command(name: str, artifact: Path, port: int, database_url: str) -> list[str]:
    match name:
        case "this" | "onnx":
            options = [f"artifact={artifact}", f"server.port={port}", f"server.database_url={database_url}"]
            options.append(f"server.runtime={'keras' if name == 'this' else name}")
            return [sys.executable, str(PROJECT / "scripts" / "serve.py"), *options]
        case "baseline":
            return [sys.executable, "-m", "fashion.benchmarks.baseline_server", str(artifact), str(port)]
        case _:
            options = [name, str(artifact), str(port), database_url]
            return [sys.executable, "-m", "fashion.benchmarks.ceiling_server", *options]


@contextlib.contextmanager
def running(name: str, artifact: Path, folder: Path) -> Iterator[int]:
    """Start a contender, wait until it predicts, and yield its port.

    Args:
        name: A key of ``NAMES``.
        artifact: A ``.keras`` file with its card beside it, or the folder of a run.
        folder: Gets the database and the log.

    Raises:
        InputError: When it does not start; the message has its last line.
    """
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
            env={**os.environ, "KERAS_BACKEND": "tensorflow" if name == "baseline" else "jax"},
        )
    try:
        end = time.monotonic() + STARTING_SECONDS
        while not _predicts(port):
            if process.poll() is not None or time.monotonic() > end:
                last = child.last_line((folder / f"{name}.log").read_text(errors="replace"))
                raise InputError(f"the server {name} does not answer: {last}")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def _make_account(database_url: str) -> None:
    from fashion.server.storage.accounts import Accounts

    accounts = Accounts(database_url)
    accounts.upgrade()
    accounts.create_default()
    accounts.database.close()


def _predicts(port: int) -> bool:
    head, _, body = _request().partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def run_clients(port: int, clients: int, seconds: float, request: Path) -> LoadOutcome:
    """Send a request over and over, for some seconds after a warm-up.

    Args:
        port: The server's.
        clients: Number of clients, each with one request at a time.
        seconds: How long.
        request: A file with the whole HTTP request.

    Raises:
        InputError: When the server stops answering.
    """
    command = [sys.executable, "-m", "fashion.benchmarks.load_client", port, clients, seconds, request]
    return cast(LoadOutcome, json.loads(child.run("the load client", command)))


def _request() -> bytes:
    """Return a whole HTTP request with a 28 x 28 PNG."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return form_request(stream.getvalue(), "shoe.png")


def form_request(content: bytes, name: str) -> bytes:
    """Return a whole HTTP request: an image file in a form, with the default password.

    Args:
        content: The file.
        name: Its name.
    """
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    body = (
        (
            f'--XX\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'
        ).encode()
        + content
        + b"\r\n--XX--\r\n"
    )
    head = (
        "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Basic {base64.b64encode(b'admin:password').decode()}\r\n"
        f"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def table(result: ServingSpeed) -> str:
    """Return the result as the lines that a terminal shows."""
    ratios = result["ratios"]
    columns = "requests/s    p50 ms    p99 ms"
    lines = [
        machine.summarise_machine(result["machine"], result["machine"]["versions"]),
        "",
        f"{'':<30}{'1 client':<34}32 clients",
        f"{'POST /predict, 28 x 28 PNG':<30}{columns}    {columns}",
    ]
    for name, by_clients in result["contenders"].items():
        cells = [
            f"{load['requests_per_second']:10.0f}{load['p50_ms']:10.1f}{load['p99_ms']:10.1f}"
            for load in by_clients.values()
        ]
        lines.append(f"{NAMES[name]:<30}" + "    ".join(cells))
    rates = {name: ratio["requests_per_second"]["32"] for name, ratio in ratios.items()}
    p99 = {name: ratio["p99_ms"]["1"] for name, ratio in ratios.items()}
    return "\n".join(
        [
            *lines,
            "",
            f"this project's requests/s at 32 clients: {rates['baseline']:.1f} times the baseline's, "
            f"{rates['no_inference']:.0%} of a constant model's, {rates['bare']:.0%} of an empty view's",
            *_onnx_lines(ratios),
            f"its p99 at 1 client: {p99['baseline']:.2f} times the baseline's, "
            f"{p99['no_inference']:.1f} times a constant model's, {p99['bare']:.1f} times an empty view's",
        ]
    )


def _onnx_lines(ratios: dict[str, Ratios]) -> list[str]:
    if "onnx" not in ratios:
        return []
    rates, p99 = ratios["onnx"]["requests_per_second"], ratios["onnx"]["p99_ms"]
    return [
        f"with ONNX Runtime {1 / rates['32']:.2f} times its requests/s at 32 clients, "
        f"{1 / p99['1']:.2f} times its p99 at 1"
    ]


def chart(result: ServingSpeed, path: Path) -> None:
    """Write bars of the rates at 32 clients and of the p99 at one as a PNG."""
    contenders = result["contenders"]
    rates = {name: loads["32"]["requests_per_second"] for name, loads in contenders.items()}
    p99 = {name: loads["1"]["p99_ms"] for name, loads in contenders.items()}
    with saved_figure(path, 10, 3.2, "Answers over HTTP on " + result["machine"]["processor"]) as figure:
        left, right = figure.subplots(1, 2)
        _bars(left, rates, "32 clients, requests/s (more is better)", "{:,.0f}")
        _bars(right, p99, "1 client, p99 in ms (less is better)", "{:,.1f}")


def _bars(axes: Axes, values: dict[str, float], title: str, label_format: str) -> None:
    names = list(values)[::-1]
    bars = axes.barh(
        [NAMES[name] for name in names],
        [values[name] for name in names],
        color=[PRIMARY if name in ("this", "onnx") else MUTED for name in names],
    )
    axes.bar_label(bars, fmt=label_format, padding=4)
    axes.set_title(title)
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
