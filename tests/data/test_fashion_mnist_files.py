"""The verified files of a root folder, on small files with the real layout; the digests themselves on the real ones."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from small_files import CONTENTS, IMAGES, NAMES, PACKED, SHAPES, Machine, Server, assert_right, idx_bytes, put, stored

from fashion.data.fashion_mnist import idx_files
from fashion.errors import FashionError
from fashion.paths import PROJECT


def test_real_files_are_the_published_ones(fashion_mnist_root: Path) -> None:
    arrays = idx_files.load_idx_files(fashion_mnist_root, download=False)
    assert arrays.train_images.shape == (60_000, 28, 28)
    assert arrays.test_images.shape == (10_000, 28, 28)
    assert arrays.train_images.dtype == arrays.test_images.dtype == np.uint8
    assert arrays.train_labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert np.bincount(arrays.train_labels).tolist() == [6_000] * 10
    assert np.bincount(arrays.test_labels).tolist() == [1_000] * 10
    assert arrays.train_images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert arrays.train_images.std() / 255 == pytest.approx(0.3530, abs=5e-5)
    for name, digest in arrays.digests.items():
        assert hashlib.sha256((fashion_mnist_root / name).read_bytes()).hexdigest() == digest


@pytest.mark.process
def test_importing_loads_no_framework() -> None:
    code = "import sys, fashion.data.fashion_mnist; print({'keras', 'tensorflow', 'jax'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "set()"


@pytest.mark.parametrize("files", [CONTENTS, PACKED], ids=["idx", "gz"])
def test_files_of_root_are_used_and_kept(machine: Machine, files: dict[str, bytes]) -> None:
    put(machine.root, files)
    assert_right(idx_files.load_idx_files(machine.root, download=False))
    assert stored(machine.root) == {**files, **CONTENTS}


def test_a_complete_root_is_not_written(machine: Machine) -> None:
    put(machine.root, CONTENTS)
    idx_files.load_idx_files(machine.root, download=True)
    assert sorted(path.name for path in machine.root.iterdir()) == sorted(NAMES)


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


FLAWS = {
    "empty": (IMAGES, b"", "is truncated: it has 0 bytes"),
    "cut header": (IMAGES, CONTENTS[IMAGES][:9], "is truncated: it has 9 bytes"),
    "cut": (IMAGES, CONTENTS[IMAGES][:-1], "is truncated: it has 9423 bytes of data, expected 9424"),
    "flipped bit": (IMAGES, flipped(CONTENTS[IMAGES]), "is corrupt, or of another data set"),
    "MNIST": (
        IMAGES,
        idx_bytes(SHAPES[IMAGES], seed=99),
        "is corrupt, or of another data set with the same file names",
    ),
    "too long": (IMAGES, CONTENTS[IMAGES] + b"\x00", "is corrupt: it has more than the 9424 bytes"),
    "test for train": (IMAGES, CONTENTS[NAMES[2]], "is not the published file"),
    "web page": (IMAGES, b"<html>", "is not the published file"),
    "gz without its suffix": (IMAGES, PACKED[f"{IMAGES}.gz"], "is not the published file"),
    "cut gz": (f"{IMAGES}.gz", PACKED[f"{IMAGES}.gz"][:-20], "is truncated"),
    "not gz": (f"{IMAGES}.gz", CONTENTS[IMAGES], "is not an intact gzip file"),
    "flipped bit of gz": (f"{IMAGES}.gz", flipped(PACKED[f"{IMAGES}.gz"]), "is not an intact gzip file"),
    "flipped bit in gz": (f"{IMAGES}.gz", gzip.compress(flipped(CONTENTS[IMAGES])), "is corrupt"),
    "gzip bomb": (
        f"{IMAGES}.gz",
        gzip.compress(CONTENTS[IMAGES] + bytes(50_000_000)),
        "is corrupt: it has more than the 9424 bytes",
    ),
}
each_flaw = pytest.mark.parametrize(("name", "content", "flaw"), FLAWS.values(), ids=FLAWS.keys())


@each_flaw
@pytest.mark.parametrize("download", [True, False])
def test_wrong_files_in_root_are_named_refused_and_kept(
    machine: Machine, name: str, content: bytes, flaw: str, download: bool
) -> None:
    """Even where every other source has the right file."""
    put(machine.debian, PACKED)
    put(machine.root, {name: content})
    with pytest.raises(FashionError) as caught:
        idx_files.load_idx_files(machine.root, download)
    assert f"{machine.root / name} {flaw}" in str(caught.value)
    assert str(caught.value).endswith("move or remove that file, and the next run finds or fetches the right one")
    assert stored(machine.root) == {name: content}


@each_flaw
def test_wrong_files_elsewhere_are_passed_over_with_the_reason(
    machine: Machine, name: str, content: bytes, flaw: str
) -> None:
    put(machine.debian, {name: content})
    machine.root.mkdir()
    with pytest.raises(FashionError) as caught:
        idx_files.load_idx_files(machine.root, download=False)
    assert f"{machine.debian}: {machine.debian / name} {flaw}" in str(caught.value)
    put(machine.keras, PACKED)
    assert_right(idx_files.load_idx_files(machine.root, download=False))


CHILD = """
import json, sys
from pathlib import Path
from fashion.data.fashion_mnist import file_sources as sources, idx_files as files
from fashion.data.idx import IdxFile
settings = json.loads(sys.argv[1])
files.IDX_FILES = tuple(IdxFile(name, digest, tuple(shape)) for name, digest, shape in settings["files"])
sources.DEBIAN_FOLDER = Path("/nowhere")
sources.KERAS_URL = settings["url"]
print("ready", flush=True)
sys.stdin.readline()
arrays = files.load_idx_files(Path(settings["root"]), download=True)
print(arrays.train_images.sum(), arrays.test_labels.sum())
"""


@pytest.mark.process
def test_ten_processes_that_start_at_once_fetch_once(machine: Machine, server: Server) -> None:
    server.files, server.pause_seconds = PACKED, 0.01
    settings = {
        "files": [(file.name, file.sha256, file.shape) for file in idx_files.IDX_FILES],
        "url": server.url,
        "root": str(machine.root),
    }
    command = [sys.executable, "-c", CHILD, json.dumps(settings)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children = [subprocess.Popen(command, cwd=PROJECT, text=True, **pipes) for _ in range(10)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    answers = {child.communicate(timeout=30) for child in children}
    assert [child.returncode for child in children] == [0] * 10
    images, labels = (np.frombuffer(CONTENTS[name], np.uint8)[n:] for name, n in ((IMAGES, 16), (NAMES[3], 8)))
    assert answers == {(f"{images.sum()} {labels.sum()}\n", "")}
    assert server.asked == list(PACKED)
    assert stored(machine.root) == CONTENTS


@pytest.fixture
def as_ordinary_user() -> Iterator[None]:
    """Let permissions count: root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def read_only_root() -> Iterator[Callable[[dict[str, bytes]], Path]]:
    """A function that makes a folder with files, closed for writing; outside tmp_path, which only its owner enters."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def make(files: dict[str, bytes]) -> Path:
            put(root, files)
            root.chmod(0o555)
            return root

        yield make
        root.chmod(0o755)


@pytest.mark.parametrize("name", [".", "data"], ids=["itself", "its parent"])
def test_a_read_only_root_is_one_clear_error(
    machine: Machine, server: Server, read_only_root: Callable, request: pytest.FixtureRequest, name: str
) -> None:
    server.files = PACKED
    folder = read_only_root({})
    request.getfixturevalue("as_ordinary_user")
    with pytest.raises(FashionError, match=r"cannot be stored in .*: Permission denied; .* set data\.root to one"):
        idx_files.load_idx_files(folder / name, download=True)
    assert server.asked == []


def test_a_complete_read_only_root_is_enough(
    machine: Machine, read_only_root: Callable, request: pytest.FixtureRequest
) -> None:
    root = read_only_root(CONTENTS)
    request.getfixturevalue("as_ordinary_user")
    assert_right(idx_files.load_idx_files(root, download=False))


def test_a_root_that_is_a_file_is_one_clear_error(machine: Machine) -> None:
    put(machine.debian, PACKED)
    machine.root.write_text("not a folder")
    with pytest.raises(FashionError, match="cannot be stored in"):
        idx_files.load_idx_files(machine.root, download=False)
    assert machine.root.read_text() == "not a folder"


FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
"""


@pytest.mark.process
def test_a_full_disk_leaves_nothing_half_written(machine: Machine, server: Server) -> None:
    """A limit on the size of files simulates the full disk: the write fails in the middle, for the real reason."""
    server.files = PACKED
    settings = {
        "files": [(file.name, file.sha256, file.shape) for file in idx_files.IDX_FILES],
        "url": server.url,
        "root": str(machine.root),
    }
    command = [sys.executable, "-c", FULL_DISK + CHILD, json.dumps(settings)]
    child = subprocess.run(command, cwd=PROJECT, text=True, capture_output=True, input="\n", check=False)
    error = child.stderr.splitlines()[-1]
    assert error.startswith(
        f"fashion.errors.DiskFullError: {machine.root / IMAGES}: cannot be written (File too large)"
    )
    assert stored(machine.root) == {}
