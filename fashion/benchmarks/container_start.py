"""How fast a container of the server's image is ready, and what it takes: memory and disk."""

import http.client
import json
import shutil
import socket
import statistics
import subprocess
import time
import uuid
from typing import TypedDict

from fashion import machine
from fashion.benchmarks.progress import say
from fashion.errors import InputError
from fashion.plural import counted

STARTS_WITHIN = 120.0
POLL_SECONDS = 0.02
# As an operator starts it; predictions are asked by a platform, which needs no account.
RUN = (
    *("run", "--detach", "--network", "host", "--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--env", "FASHION_PLATFORM=sagemaker"),
)
# All processes but the one that reads: their proportional set size in kB, which counts memory that they share once, and
# the processor time that they and their children took.
USAGE = """
import os, pathlib
names = {path.name for path in pathlib.Path("/proc").iterdir() if path.name.isdecimal()} - {str(os.getpid())}
processes = [pathlib.Path("/proc", name) for name in names]
lines = [line for process in processes for line in (process / "smaps_rollup").read_text().splitlines()]
ticks = [sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:15])) for process in processes]
print(sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")), sum(ticks) / os.sysconf("SC_CLK_TCK"))
"""


class Start(TypedDict):
    """One start: seconds from the command until ``/readyz`` answers 200, and what all processes have taken then."""

    seconds: float
    processor_seconds: float
    memory_mb: float


class ContainerStart(TypedDict):
    """The result of the benchmark: medians over the starts, the largest memory, and the size of the image on disk.

    Processor time, unlike the time until it is ready, hardly depends on what else the machine does.
    """

    machine: machine.MachineDescription
    image: str
    engine: str
    image_mb: float
    seconds: float
    processor_seconds: float
    memory_mb: float
    starts: list[Start]


def measure(image: str, rounds: int) -> ContainerStart:
    """Start containers of an image, one after the other; each is a new one, with nothing stored.

    Args:
        image: The name of an image that ``make image`` built.
        rounds: How many.

    Raises:
        InputError: When neither podman nor docker has the image, or a container does not become ready.
    """
    engine = _engine_with(image)
    starts = []
    for number in range(rounds):
        starts.append(_start(engine, image))
        last = starts[-1]
        say(
            f"start {number + 1}/{rounds}  {last['seconds']:.2f} s  processor {last['processor_seconds']:.2f} s  "
            f"{last['memory_mb']:.0f} MB"
        )
    return {
        "machine": machine.describe_machine(()),
        "image": image,
        "engine": _run(engine, "--version").strip(),
        "image_mb": round(json.loads(_run(engine, "image", "inspect", image))[0]["Size"] / 1e6, 1),
        "seconds": statistics.median(start["seconds"] for start in starts),
        "processor_seconds": statistics.median(start["processor_seconds"] for start in starts),
        "memory_mb": max(start["memory_mb"] for start in starts),
        "starts": starts,
    }


def table(result: ContainerStart) -> str:
    """Return the result as a table in Markdown."""
    starts = counted(len(result["starts"]), "start")
    return "\n".join(
        [
            f"{result['image']}, {result['engine']}, {result['machine']['cores']} cores, median of {starts}",
            "",
            "| image | ready | processor time | memory |",
            "|---|---|---|---|",
            f"| {result['image_mb']:,.0f} MB | {result['seconds']:.1f} s | {result['processor_seconds']:.1f} s | "
            f"{result['memory_mb']:,.0f} MB |",
        ]
    )


def _engine_with(image: str) -> str:
    for engine in ("podman", "docker"):
        command = [engine, "image", "inspect", image]
        if shutil.which(engine) and subprocess.run(command, capture_output=True).returncode == 0:
            return engine
    raise InputError(f"{image}: neither podman nor docker has this image; make image builds it")


def _run(engine: str, *arguments: str) -> str:
    finished = subprocess.run([engine, *arguments], capture_output=True, text=True)
    if finished.returncode:
        raise InputError(f"{engine} {arguments[0]}: {finished.stderr.strip()}")
    return finished.stdout


def _start(engine: str, image: str) -> Start:
    name = f"fashion-benchmark-{uuid.uuid4().hex[:8]}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begin = time.perf_counter()
    try:
        _run(engine, *RUN, "--name", name, "--env", f"PORT={port}", image)
        while not _is_ready(port):
            if time.perf_counter() - begin > STARTS_WITHIN:
                raise InputError(f"{image}: not ready after {STARTS_WITHIN:.0f} s; see {engine} run {image}")
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - begin
        kilobytes, processor_seconds = _run(engine, "exec", name, "python", "-c", USAGE).split()
    finally:
        subprocess.run([engine, "rm", "--force", "--volumes", name], capture_output=True)
    return {
        "seconds": round(seconds, 3),
        "processor_seconds": float(processor_seconds),
        "memory_mb": round(int(kilobytes) * 1024 / 1e6, 1),
    }


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
