"""Sources of the IDX files, on small files with the real layout; the digests themselves on the real ones."""

import gzip
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fashion.data import fashion_mnist_files
from fashion.errors import FashionError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    files = tuple(
        fashion_mnist_files.IdxFile(name, hashlib.sha256(content).hexdigest(), SHAPES[name])
        for name, content in CONTENTS.items()
    )
    monkeypatch.setattr(fashion_mnist_files, "IDX_FILES", files)
    monkeypatch.setattr(fashion_mnist_files, "DEBIAN_FOLDER", machine.debian)
    monkeypatch.setattr(fashion_mnist_files, "KERAS_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("KERAS_HOME", str(machine.keras_home))
    monkeypatch.setenv("PATH", str(machine.programs))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return machine


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


@pytest.fixture
def server(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(fashion_mnist_files, "KERAS_URL", server.url)
    yield server
    server.shutdown()
    server.server_close()


def assert_right(arrays: fashion_mnist_files.IdxArrays) -> None:
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


def test_real_files_are_the_published_ones(fashion_mnist_root: Path) -> None:
    arrays = fashion_mnist_files.load_idx_files(fashion_mnist_root, download=False)
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
    code = "import sys, fashion.data.dataset; print({'keras', 'tensorflow', 'jax'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "set()"


@pytest.mark.parametrize("files", [CONTENTS, PACKED], ids=["idx", "gz"])
def test_files_of_root_are_used_and_kept(machine: Machine, files: dict[str, bytes]) -> None:
    put(machine.root, files)
    assert_right(fashion_mnist_files.load_idx_files(machine.root, download=False))
    assert stored(machine.root) == {**files, **CONTENTS}


def test_a_complete_root_is_not_written(machine: Machine) -> None:
    put(machine.root, CONTENTS)
    fashion_mnist_files.load_idx_files(machine.root, download=True)
    assert sorted(path.name for path in machine.root.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("folder", ["debian", "keras"])
@pytest.mark.parametrize("files", [CONTENTS, PACKED], ids=["idx", "gz"])
def test_local_folders_fill_root_without_the_network(machine: Machine, folder: str, files: dict[str, bytes]) -> None:
    put(getattr(machine, folder), files)
    machine.root.mkdir()  # without the network a folder that does not exist is taken for a mistyped one
    assert_right(fashion_mnist_files.load_idx_files(machine.root, download=False))
    assert stored(machine.root) == CONTENTS


def test_download_fills_root_once(machine: Machine, server: Server) -> None:
    server.files = PACKED
    assert_right(fashion_mnist_files.load_idx_files(machine.root, download=True))
    assert_right(fashion_mnist_files.load_idx_files(machine.root, download=True))
    assert stored(machine.root) == CONTENTS
    assert server.asked == list(PACKED)


def test_an_interrupted_download_goes_on_where_it_stopped(machine: Machine, server: Server) -> None:
    server.files = {name: PACKED[name] for name in list(PACKED)[:2]}
    with pytest.raises(FashionError, match=r"t10k-images-idx3-ubyte\.gz: Not Found"):
        fashion_mnist_files.load_idx_files(machine.root, download=True)
    assert stored(machine.root) == {name: CONTENTS[name] for name in NAMES[:2]}
    server.files, server.asked = PACKED, []
    assert_right(fashion_mnist_files.load_idx_files(machine.root, download=True))
    assert server.asked == list(PACKED)[2:]


def test_sources_are_asked_in_order(machine: Machine, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Each source holds one file more than those before it, so each gives one."""
    caplog.set_level("INFO", fashion_mnist_files.__name__)
    put(machine.root, {name: PACKED[name] for name in list(PACKED)[:1]})
    put(machine.debian, {name: PACKED[name] for name in list(PACKED)[:2]})
    put(machine.keras, {name: PACKED[name] for name in list(PACKED)[:3]})
    server.files = PACKED
    assert_right(fashion_mnist_files.load_idx_files(machine.root, download=True))
    assert server.asked == list(PACKED)[3:]
    assert [message for message in caplog.messages if " from " in message and "not from" not in message] == [
        f"Fashion-MNIST: {NAMES[1]} from {machine.debian}",
        f"Fashion-MNIST: {NAMES[2]} from {machine.keras}",
        f"Fashion-MNIST: {NAMES[3]} from {server.url}",
    ]


FAKE_APT_GET = """
echo "$@" >> {log}
case "$*" in
  *"{needed}"*download*) touch dataset-fashion-mnist_1_all.deb ;;
  *download*) echo "E: Unable to locate package dataset-fashion-mnist" >&2; exit 100 ;;
esac
"""
FAKE_DPKG_DEB = 'test "$1" = -x && test -e "$2" && mkdir -p "$3{folder}" && cp {files}/* "$3{folder}"'


@pytest.mark.process
@pytest.mark.parametrize(
    ("needed", "verbs"),
    [("", ["download"]), ("Dir::State::Lists", ["download", "update", "download"])],
    ids=["package lists", "no package lists yet"],
)
def test_debian_package_is_unpacked(machine: Machine, tmp_path: Path, needed: str, verbs: list[str]) -> None:
    put(tmp_path / "package", PACKED)
    machine.install("apt-get", FAKE_APT_GET.format(log=tmp_path / "log", needed=needed))
    machine.install("dpkg-deb", FAKE_DPKG_DEB.format(folder=machine.debian, files=tmp_path / "package"))
    assert_right(fashion_mnist_files.load_idx_files(machine.root, download=True))
    assert stored(machine.root) == CONTENTS
    commands = (tmp_path / "log").read_text().splitlines()
    assert [verb for line in commands for verb in line.split() if verb in {"update", "download"}] == verbs


@pytest.mark.process
def test_unreachable_lists_every_source_and_one_remedy(machine: Machine) -> None:
    machine.install("apt-get", FAKE_APT_GET.format(log="/dev/null", needed="never"))
    machine.install("dpkg-deb", "exit 1")
    with pytest.raises(FashionError) as caught:
        fashion_mnist_files.load_idx_files(machine.root, download=True)
    message = str(caught.value)
    reasons = [
        f"{machine.root}: no {IMAGES} or {IMAGES}.gz",
        f"{machine.debian}: no such folder",
        f"{machine.keras}: no such folder",
        f"http://127.0.0.1:1/: {IMAGES}.gz: [Errno",
        "apt-get download dataset-fashion-mnist: apt-get: E: Unable to locate package",
    ]
    assert [reason for reason in reasons if reason not in message] == []
    assert message.endswith(f"; put {', '.join(PACKED)} into {machine.root}")
    assert "\n" not in message


def test_without_download_nothing_is_fetched_or_created(machine: Machine, server: Server) -> None:
    server.files = PACKED
    with pytest.raises(FashionError, match=r"set data\.download=true$"):
        fashion_mnist_files.load_idx_files(machine.root, download=False)
    assert server.asked == []
    assert not machine.root.exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "Not Found"),
        (b"<html>please log in</html>", "not an intact gzip file"),
        (PACKED[f"{IMAGES}.gz"][:-9], "truncated"),
        (gzip.compress(CONTENTS[IMAGES][:-1]), "truncated: it has 9423 bytes of data, expected 9424"),
        (b"x" * 30_000, "longer than 29424 bytes"),
    ],
    ids=["404", "log-in page", "cut stream", "cut content", "endless"],
)
def test_bad_downloads_are_refused(machine: Machine, server: Server, answer: bytes | None, reason: str) -> None:
    server.files = {f"{IMAGES}.gz": answer} if answer is not None else {}
    with pytest.raises(FashionError, match=reason):
        fashion_mnist_files.load_idx_files(machine.root, download=True)
    assert stored(machine.root) == {}


@pytest.mark.parametrize(
    ("pause_seconds", "constant", "reason"),
    [(5.0, "NETWORK_TIMEOUT_SECONDS", "timed out"), (0.05, "FETCH_TIMEOUT_SECONDS", "too slow to go on")],
    ids=["silent", "slow"],
)
def test_a_server_cannot_hang_the_program(
    machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch, pause_seconds: float, constant: str, reason: str
) -> None:
    server.files, server.pause_seconds = PACKED, pause_seconds
    monkeypatch.setattr(fashion_mnist_files, constant, 0.2)
    start = time.monotonic()
    with pytest.raises(FashionError, match=reason):
        fashion_mnist_files.load_idx_files(machine.root, download=True)
    assert time.monotonic() - start < 2
    assert stored(machine.root) == {}


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
    "test for train": (IMAGES, CONTENTS[NAMES[2]], "is a foreign file"),
    "web page": (IMAGES, b"<html>", "is a foreign file"),
    "gz without its suffix": (IMAGES, PACKED[f"{IMAGES}.gz"], "is a foreign file"),
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
        fashion_mnist_files.load_idx_files(machine.root, download)
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
        fashion_mnist_files.load_idx_files(machine.root, download=False)
    assert f"{machine.debian}: {machine.debian / name} {flaw}" in str(caught.value)
    put(machine.keras, PACKED)
    assert_right(fashion_mnist_files.load_idx_files(machine.root, download=False))


CHILD = """
import json, sys
from pathlib import Path
from fashion.data import fashion_mnist_files as source
settings = json.loads(sys.argv[1])
source.IDX_FILES = tuple(source.IdxFile(name, digest, tuple(shape)) for name, digest, shape in settings["files"])
source.DEBIAN_FOLDER = Path("/nowhere")
source.KERAS_URL = settings["url"]
print("ready", flush=True)
sys.stdin.readline()
arrays = source.load_idx_files(Path(settings["root"]), download=True)
print(arrays.train_images.sum(), arrays.test_labels.sum())
"""


@pytest.mark.process
def test_ten_processes_that_start_at_once_fetch_once(machine: Machine, server: Server) -> None:
    server.files, server.pause_seconds = PACKED, 0.01
    settings = {
        "files": [(file.name, file.sha256, file.shape) for file in fashion_mnist_files.IDX_FILES],
        "url": server.url,
        "root": str(machine.root),
    }
    command = [sys.executable, "-c", CHILD, json.dumps(settings)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children = [subprocess.Popen(command, cwd=PROJECT_ROOT, text=True, **pipes) for _ in range(10)]
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
        fashion_mnist_files.load_idx_files(folder / name, download=True)
    assert server.asked == []


def test_a_complete_read_only_root_is_enough(
    machine: Machine, read_only_root: Callable, request: pytest.FixtureRequest
) -> None:
    root = read_only_root(CONTENTS)
    request.getfixturevalue("as_ordinary_user")
    assert_right(fashion_mnist_files.load_idx_files(root, download=False))


def test_a_root_that_is_a_file_is_one_clear_error(machine: Machine) -> None:
    put(machine.debian, PACKED)
    machine.root.write_text("not a folder")
    with pytest.raises(FashionError, match="cannot be stored in"):
        fashion_mnist_files.load_idx_files(machine.root, download=False)
    assert machine.root.read_text() == "not a folder"


FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
"""


@pytest.mark.process
def test_a_full_disk_leaves_nothing_half_written(machine: Machine, server: Server) -> None:
    """A limit on the size of files stands for the full disk: the write fails in the middle, for the real reason."""
    server.files = PACKED
    settings = {
        "files": [(file.name, file.sha256, file.shape) for file in fashion_mnist_files.IDX_FILES],
        "url": server.url,
        "root": str(machine.root),
    }
    command = [sys.executable, "-c", FULL_DISK + CHILD, json.dumps(settings)]
    child = subprocess.run(command, cwd=PROJECT_ROOT, text=True, capture_output=True, input="\n", check=False)
    error = child.stderr.splitlines()[-1]
    assert error.startswith(
        f"fashion.errors.DiskFullError: {machine.root / IMAGES}: cannot be written (File too large)"
    )
    assert stored(machine.root) == {}
