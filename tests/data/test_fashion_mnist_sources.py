"""Sources of the files: folders of this machine, Keras's download and Debian's package."""

import gzip
import time
from pathlib import Path

import pytest
from small_files import CONTENTS, IMAGES, NAMES, PACKED, Machine, Server, assert_right, put, stored

from fashion.data import download
from fashion.data.fashion_mnist.idx_files import load_idx_files
from fashion.errors import FashionError


@pytest.mark.parametrize("folder", ["debian", "keras"])
@pytest.mark.parametrize("files", [CONTENTS, PACKED], ids=["idx", "gz"])
def test_local_folders_fill_root_without_the_network(machine: Machine, folder: str, files: dict[str, bytes]) -> None:
    put(getattr(machine, folder), files)
    machine.root.mkdir()  # without the network a folder that does not exist counts as a mistyped one
    assert_right(load_idx_files(machine.root, download=False))
    assert stored(machine.root) == CONTENTS


def test_download_fills_root_once(machine: Machine, server: Server) -> None:
    server.files = PACKED
    assert_right(load_idx_files(machine.root, download=True))
    assert_right(load_idx_files(machine.root, download=True))
    assert stored(machine.root) == CONTENTS
    assert server.asked == list(PACKED)


def test_an_interrupted_download_goes_on_where_it_stopped(machine: Machine, server: Server) -> None:
    server.files = {name: PACKED[name] for name in list(PACKED)[:2]}
    with pytest.raises(FashionError, match=r"t10k-images-idx3-ubyte\.gz: Not Found"):
        load_idx_files(machine.root, download=True)
    assert stored(machine.root) == {name: CONTENTS[name] for name in NAMES[:2]}
    server.files, server.asked = PACKED, []
    assert_right(load_idx_files(machine.root, download=True))
    assert server.asked == list(PACKED)[2:]


def test_sources_are_asked_in_order(machine: Machine, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Each source has one file more than those before it, so each gives one."""
    caplog.set_level("INFO", "fashion.data.fashion_mnist.idx_files")
    put(machine.root, {name: PACKED[name] for name in list(PACKED)[:1]})
    put(machine.debian, {name: PACKED[name] for name in list(PACKED)[:2]})
    put(machine.keras, {name: PACKED[name] for name in list(PACKED)[:3]})
    server.files = PACKED
    assert_right(load_idx_files(machine.root, download=True))
    assert server.asked == list(PACKED)[3:]
    assert [message for message in caplog.messages if " from " in message and "not available from" not in message] == [
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
    assert_right(load_idx_files(machine.root, download=True))
    assert stored(machine.root) == CONTENTS
    commands = (tmp_path / "log").read_text().splitlines()
    assert [verb for line in commands for verb in line.split() if verb in {"update", "download"}] == verbs


@pytest.mark.process
def test_unreachable_lists_every_source_and_one_remedy(machine: Machine) -> None:
    machine.install("apt-get", FAKE_APT_GET.format(log="/dev/null", needed="never"))
    machine.install("dpkg-deb", "exit 1")
    with pytest.raises(FashionError) as caught:
        load_idx_files(machine.root, download=True)
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
        load_idx_files(machine.root, download=False)
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
        load_idx_files(machine.root, download=True)
    assert stored(machine.root) == {}


@pytest.mark.parametrize(
    ("pause_seconds", "constant", "reason"),
    [(5.0, "NETWORK_TIMEOUT_SECONDS", "timed out"), (0.05, "FETCH_TIMEOUT_SECONDS", "too slow: [0-9]+ bytes in 0.2 s")],
    ids=["silent", "slow"],
)
def test_a_server_cannot_hang_the_program(
    machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch, pause_seconds: float, constant: str, reason: str
) -> None:
    server.files, server.pause_seconds = PACKED, pause_seconds
    monkeypatch.setattr(download, constant, 0.2)
    start = time.monotonic()
    with pytest.raises(FashionError, match=reason):
        load_idx_files(machine.root, download=True)
    assert time.monotonic() - start < 2
    assert stored(machine.root) == {}
