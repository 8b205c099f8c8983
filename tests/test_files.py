import errno
import json
import os
import subprocess
import sys

import pytest

from fashion.errors import FashionError
from fashion.files import remove_partial_files, replacing, replacing_folder, write_json, write_text
from fashion.paths import PROJECT


def test_a_file_is_written_with_its_folder(tmp_path):
    write_text(tmp_path / "new" / "note.txt", "text\n")
    assert (tmp_path / "new" / "note.txt").read_text() == "text\n"
    assert os.listdir(tmp_path / "new") == ["note.txt"]


def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "earlier")

    def fail_halfway():
        with replacing(path) as partial:
            partial.write_text("half")
            raise ValueError("anything")

    with pytest.raises(ValueError, match="anything"):
        fail_halfway()
    assert path.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["note.txt"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Unable to write (file write failed: errno = 28, error message = 'No space left on device')"),
    ],
    ids=["system", "hdf5"],
)
def test_a_full_disk_is_reported_in_one_sentence(tmp_path, error):
    path = tmp_path / "note.txt"
    message = r"note\.txt: cannot be written \(No space left on device\)"
    with pytest.raises(FashionError, match=message), replacing(path):
        raise error


@pytest.mark.parametrize("error", [ValueError("anything"), OSError(errno.ENOSPC, "No space left on device")], ids=repr)
def test_a_failure_leaves_the_earlier_folder_and_nothing_else(tmp_path, error):
    path = tmp_path / "model"
    with replacing_folder(path) as partial:
        partial.mkdir()
        (partial / "weights").write_text("earlier")

    def fail_halfway():
        with replacing_folder(path) as partial:
            partial.mkdir()
            raise error

    with pytest.raises((ValueError, FashionError)):
        fail_halfway()
    assert (path / "weights").read_text() == "earlier"
    assert os.listdir(tmp_path) == ["model"]


def test_an_earlier_folder_returns_when_the_new_one_is_not_there(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    with pytest.raises(FileNotFoundError), replacing_folder(path):
        pass  # nothing was written, so renaming it fails
    assert os.listdir(tmp_path) == ["model"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".model.1.partial.saved_model").mkdir()
    (tmp_path / ".model.1.partial.saved_model" / "weights").touch()
    (tmp_path / ".note.1.partial.txt").touch()
    (tmp_path / "note.txt").touch()
    remove_partial_files(tmp_path)
    assert os.listdir(tmp_path) == ["note.txt"]


@pytest.mark.process
def test_a_file_size_limit_is_reported_in_one_sentence(tmp_path):
    """A real refusal: the process may write 1,000 bytes to a file."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from fashion.files import write_text\n"
        "from fashion.cli import with_exit_status\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with_exit_status(lambda: write_text(Path(sys.argv[1]), 'x' * 5000))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "big.txt"], capture_output=True, text=True, cwd=PROJECT
    )
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {tmp_path / 'big.txt'}: cannot be written (File too large)")
    assert os.listdir(tmp_path) == []


def test_any_other_error_is_passed_on(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "note.txt"):
        raise FileNotFoundError("something else is missing")


def test_nan_and_infinity_become_null(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": 2}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": 2}}
