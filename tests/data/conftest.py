"""A machine without the data set, and a server that has it."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_files import CONTENTS, SHAPES, Machine, Server

from fashion.data.fashion_mnist import file_sources, idx_files
from fashion.data.idx import IdxFile


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    files = tuple(
        IdxFile(name, hashlib.sha256(content).hexdigest(), SHAPES[name]) for name, content in CONTENTS.items()
    )
    monkeypatch.setattr(idx_files, "IDX_FILES", files)
    monkeypatch.setattr(file_sources, "DEBIAN_FOLDER", machine.debian)
    monkeypatch.setattr(file_sources, "KERAS_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("KERAS_HOME", str(machine.keras_home))
    monkeypatch.setenv("PATH", str(machine.programs))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return machine


@pytest.fixture
def server(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(file_sources, "KERAS_URL", server.url)
    yield server
    server.shutdown()
    server.server_close()
