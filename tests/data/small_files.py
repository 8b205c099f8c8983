"""Small files with the layout of Fashion-MNIST's, a machine to find them on and a server to fetch them from."""

import gzip
import http.server
import time
from pathlib import Path

import numpy as np

from fashion.data.fashion_mnist.idx_files import IdxArrays

SHAPES = {
    "train-images-idx3-ubyte": (12, 28, 28),
    "train-labels-idx1-ubyte": (12,),
    "t10k-images-idx3-ubyte": (4, 28, 28),
    "t10k-labels-idx1-ubyte": (4,),
}
NAMES = tuple(SHAPES)
IMAGES = NAMES[0]


def idx_bytes(shape: tuple[int, ...], seed: int) -> bytes:
    """Write the IDX format independently of the code under test."""
    header = b"\x00\x00\x08" + len(shape).to_bytes(1, "big") + b"".join(n.to_bytes(4, "big") for n in shape)
    return header + np.random.default_rng(seed).integers(0, 10, shape, np.uint8).tobytes()


CONTENTS = {name: idx_bytes(shape, seed) for seed, (name, shape) in enumerate(SHAPES.items())}
PACKED = {f"{name}.gz": gzip.compress(content) for name, content in CONTENTS.items()}


def put(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def stored(root: Path) -> dict[str, bytes]:
    """Everything in ``root`` but the lock."""
    return {path.name: path.read_bytes() for path in root.iterdir() if path.name != ".lock"}


class Machine:
    """A machine with none of the sources; a test adds the ones it is about."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.debian = folder / "debian"
        self.keras_home = folder / "keras"
        self.keras = self.keras_home / "datasets" / "fashion-mnist"
        self.programs = folder / "programs"
        self.programs.mkdir()

    def install(self, program: str, script: str) -> None:
        """Put a shell script in the only folder of PATH."""
        path = self.programs / program
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` and remembers what it was asked for; ``pause_seconds`` comes before every 500 bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.pause_seconds = 0.0
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        self.server.asked.append(name)
        content = self.server.files.get(name)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        for start in range(0, len(content or b""), 500):
            time.sleep(self.server.pause_seconds)
            try:
                self.wfile.write(content[start : start + 500])
            except OSError:  # the client has given up, as some tests want
                return

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


def assert_right(arrays: IdxArrays) -> None:
    for array, name in (
        (arrays.train_images, IMAGES),
        (arrays.train_labels, NAMES[1]),
        (arrays.test_images, NAMES[2]),
        (arrays.test_labels, NAMES[3]),
    ):
        shape = SHAPES[name]
        assert array.shape == shape
        assert array.dtype == (np.uint8 if len(shape) == 3 else np.int64)
        assert array.astype(np.uint8).tobytes() == CONTENTS[name][4 + 4 * len(shape) :]
