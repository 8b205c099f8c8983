"""The store of decoded images: decoded once, whatever happens between the runs."""

import contextlib
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from image_folders import pixels, write_image
from PIL import Image

from fashion.data import cache_space, decoding, store
from fashion.data.store import open_store
from fashion.errors import DiskFullError, InputError, WriteError
from fashion.paths import PROJECT
from fashion.preprocessing.input_spec import InputSpec

SPEC = InputSpec(height=28, width=28, channels=3, preprocessing="resize")
ROW = 28 * 28 * 3
SOURCES = [f"{number}.png" for number in range(40)]


@pytest.fixture
def root(tmp_path):
    for number, source in enumerate(SOURCES):
        write_image(tmp_path / "images" / source, number)
    return tmp_path / "images"


@pytest.fixture
def reads(caplog):
    """How many files were read since the last call; 0 where the store had all."""
    caplog.set_level(logging.INFO)

    def count():
        numbers = re.findall(r"reading (\d+) files?;", caplog.text)
        caplog.clear()
        return sum(map(int, numbers))

    return count


def stored(root, sources=SOURCES, spec=SPEC, cache=None, max_bytes=10**9):
    return open_store(root, sources, spec, cache or root.parent / "cache", max_bytes)


def only_store(root) -> Path:
    (folder,) = (root.parent / "cache").iterdir()
    return folder


def assert_right(images, numbers=range(40)):
    for row, number in zip(images.rows, numbers, strict=True):
        assert np.array_equal(images.pixels[row], pixels(number))


def test_the_second_run_neither_decodes_nor_reads_a_file(root, reads):
    assert_right(stored(root))
    assert reads() == 40
    for source in SOURCES:
        (root / source).chmod(0)
    os.utime(only_store(root))
    assert_right(stored(root))
    assert reads() == 0


def test_exact_sums_of_each_channel(root):
    images = stored(root)
    values = pixels(7).astype(np.int64)
    assert images.sums[7].tolist() == [*values.sum((0, 1)), *(values**2).sum((0, 1))]


def test_only_changed_files_are_read_and_only_new_contents_are_decoded(root, reads, monkeypatch):
    before = stored(root)
    reads()
    write_image(root / "3.png", 100)
    os.utime(root / "4.png", (1, 1))  # touched
    (root / "5.png").rename(root / "renamed.png")
    images = stored(root, [*SOURCES[:5], "renamed.png", *SOURCES[6:]])
    assert reads() == 3
    assert_right(images, [0, 1, 2, 100, *range(4, 40)])
    assert [row for row in images.rows if row not in before.rows] == [40]
    assert_right(before)  # a run that still has the store open


def test_copies_share_a_row_and_equal_pixels_are_known(root):
    (root / "copy.png").write_bytes((root / "2.png").read_bytes())
    Image.fromarray(pixels(2)).save(root / "2.webp", lossless=True)
    images = stored(root, ["1.png", "2.png", "copy.png", "2.webp"])
    assert images.rows[1] == images.rows[2] != images.rows[3]
    assert images.contents[1] == images.contents[2] == images.contents[3] != images.contents[0]


@pytest.mark.parametrize("change", [{"height": 32}, {"channels": 1}, {"fit": "crop"}])
def test_other_settings_have_another_store(root, reads, change):
    stored(root)
    stored(root, spec=SPEC.model_copy(update=change))
    assert reads() == 80
    assert len(list((root.parent / "cache").iterdir())) == 2


def test_one_of_several_processes_decodes_and_the_others_wait(root, reads, caplog):
    # Locks of files separate threads as they separate processes: each opens the file for itself.
    begin, results = threading.Barrier(5), []

    def run():
        begin.wait()
        results.append(stored(root))

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting = "waiting for another process that is decoding" in caplog.text
    assert reads() == 40
    assert waiting
    for images in results:
        assert_right(images)


KILLED = """
import os, signal, sys
from pathlib import Path
from fashion.data import store
from fashion.preprocessing.input_spec import InputSpec

store.SECONDS_BETWEEN_SAVES = 0.0
save = store._Unsaved.save
def save_and_die(self):
    save(self)
    os.kill(os.getpid(), signal.SIGKILL)
store._Unsaved.save = save_and_die
root, cache = map(Path, sys.argv[1:])
spec = InputSpec(height=28, width=28, channels=3, preprocessing="resize")
store.open_store(root, [f"{number}.png" for number in range(40)], spec, cache, 10**9)
"""


@pytest.mark.process
def test_a_killed_process_loses_no_saved_row(root, reads):
    cache = root.parent / "cache"
    killed = subprocess.run([sys.executable, "-c", KILLED, root, cache], cwd=PROJECT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert_right(stored(root))
    assert reads() == 40 - decoding.CHUNK


def test_a_process_that_was_killed_while_it_saved_leaves_the_index_as_it_was(root, reads):
    stored(root, SOURCES[:10])
    index = only_store(root) / cache_space.INDEX
    connection = sqlite3.connect(index)
    connection.execute("PRAGMA cache_size = 1")  # so that changes are written before they are committed
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO files VALUES (?, 1, 1, x'00')", ((f"{n}.jpg",) for n in range(2_000)))
    files = {path: path.read_bytes() for path in (index, index.with_name(f"{index.name}-journal"))}
    connection.close()
    for path, content in files.items():
        path.write_bytes(content)
    reads()
    assert_right(stored(root, SOURCES[:10]), range(10))
    assert reads() == 0
    assert not index.with_name(f"{index.name}-journal").exists()


def test_pixels_beyond_the_index_are_not_read(root, reads):
    stored(root, SOURCES[:10])
    with (only_store(root) / cache_space.PIXELS).open("ab") as file:  # as a process leaves it that is killed
        file.write(b"\xff" * (5 * ROW // 2))
    assert_right(stored(root))
    assert reads() == 40


@pytest.mark.parametrize("damage", ["index", "sums", "pixels", "no pixels"])
def test_a_damaged_store_is_made_again(root, caplog, damage):
    stored(root)
    match damage:
        case "index":
            (only_store(root) / cache_space.INDEX).write_bytes(b"not a database" * 100)
        case "sums":
            with contextlib.closing(sqlite3.connect(only_store(root) / cache_space.INDEX)) as connection, connection:
                connection.execute("UPDATE contents SET sums = x'00'")
        case "pixels":
            os.truncate(only_store(root) / cache_space.PIXELS, 39 * ROW)
        case "no pixels":
            (only_store(root) / cache_space.PIXELS).unlink()
    assert_right(stored(root))
    assert "is damaged; its images are decoded again" in caplog.text


@pytest.mark.process
def test_workers_decode_like_this_process(root, monkeypatch, reads):
    monkeypatch.setattr(decoding, "BYTES_PER_WORKER", 100)
    monkeypatch.setattr(decoding, "CHUNK", 2)
    monkeypatch.setattr(store, "available_cores", lambda: [0, 1, 2])
    (root / "bad.jpg").write_text("text")
    images = stored(root, ["bad.jpg", *SOURCES])
    assert images.rows[0] == -1
    assert images.flaws[0].startswith("is not an image")
    for row, number in zip(images.rows[1:], range(40), strict=True):
        assert np.array_equal(images.pixels[row], pixels(number))
    assert len(set(images.rows.tolist())) == 41
    assert len(images.pixels) <= 41  # the row that was meant for the bad file is used or is the last one


@pytest.mark.process
@pytest.mark.parametrize("is_dead", [False, True], ids=["while it starts", "before it is sent anything"])
def test_a_worker_that_dies_is_one_line(root, monkeypatch, is_dead):
    def start(setup):
        worker = subprocess.Popen(
            [sys.executable, "-c", "raise SystemExit(3)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        if is_dead:
            worker.wait()
        return worker

    ended, serve, decode = threading.Event(), decoding._serve, decoding.Decoder.decode

    def serve_to_the_end(*arguments):
        try:
            serve(*arguments)
        finally:
            ended.set()

    def decode_afterwards(*arguments):  # otherwise this process may have taken the last file before the worker's death
        assert ended.wait(60)
        return decode(*arguments)

    monkeypatch.setattr(decoding, "_serve", serve_to_the_end)
    monkeypatch.setattr(decoding.Decoder, "decode", decode_afterwards)
    monkeypatch.setattr(decoding, "BYTES_PER_WORKER", 100)
    monkeypatch.setattr(decoding, "_start", start)
    monkeypatch.setattr(store, "available_cores", lambda: [0, 1])
    with pytest.raises(InputError, match="a process that decodes images ended unexpectedly"):
        stored(root)


def test_stores_are_removed_by_their_last_use_to_stay_within_the_limit(root, reads):
    specs = [SPEC, SPEC.model_copy(update={"fit": "crop"}), SPEC.model_copy(update={"fit": "pad"})]
    cache = root.parent / "cache"
    (cache / "mine").mkdir(parents=True)
    (cache / "mine" / "file").write_text("not a store")
    opened = stored(root, spec=specs[0])
    stored(root, spec=specs[1])
    for age, folder in enumerate(sorted(cache.glob("images*"), key=lambda each: each.stat().st_mtime)):
        for path in folder.iterdir():
            os.utime(path, (1_000 + age, 1_000 + age))
    stored(root, spec=specs[0])  # now the newer one
    size = sum(path.stat().st_size for path in cache.glob("images*/*"))
    reads()
    stored(root, spec=specs[2], max_bytes=size + 10)
    assert len(list(cache.glob("images*"))) == 2
    assert (cache / "mine" / "file").exists()
    assert_right(opened)
    stored(root, spec=specs[0])
    assert reads() == 40  # the third one alone was decoded


def test_a_data_set_larger_than_the_limit_is_refused(root):
    with pytest.raises(
        InputError, match=r"data\.cache_gb: the decoded images need 0\.00 GB, but data\.cache_gb is 1e-05"
    ):
        stored(root, max_bytes=10_000)


def test_copied_files_need_no_more_space(root, reads):
    stored(root)
    for source in SOURCES:
        os.utime(root / source, (1, 1))
    size = sum(path.stat().st_size for path in only_store(root).iterdir())
    reads()
    assert_right(stored(root, max_bytes=size + ROW))
    assert reads() == 40


def test_a_full_disk_is_one_line(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFullError, match=r"data\.cache: decoded images cannot be stored in .*No space left"):
        stored(root)


def test_a_disk_without_space_for_all_is_refused_before_decoding(root, monkeypatch, reads):
    monkeypatch.setattr(cache_space.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(DiskFullError, match=r"need 0\.00 GB in .*, but only 0\.00 GB are free"):
        stored(root)
    assert reads() == 0


def test_a_cache_that_cannot_be_made_is_one_line(root):
    with pytest.raises(WriteError, match=r"data\.cache: decoded images cannot be stored in .*Not a directory"):
        stored(root, cache=write_image(root.parent / "file.png", 0))


def test_a_complete_store_needs_no_write_permission(root, monkeypatch):
    stored(root)
    opened = Path.open

    def read_only(self, mode="r", *args, **kwargs):
        if set(mode) & set("wax+") and "cache" in self.parts:
            raise OSError(30, "Read-only file system")
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", read_only)
    assert_right(stored(root))
