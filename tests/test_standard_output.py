"""Standard output on a full disk, or in a pipe whose reader has ended."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fashion.errors import WriteError
from fashion.paths import PROJECT
from fashion.standard_output import READER_ENDED, StandardOutput

FULL = Path("/dev/full")
needs_full_disk = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
REASON = "standard output cannot be written (No space left on device)"


def pipe_without_reader() -> io.BufferedWriter:
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "wb")


@needs_full_disk
@pytest.mark.parametrize("text", ["short", "long" * 10_000], ids=["at the flush", "at the write"])
def test_a_full_disk_is_an_error_once(text):
    with StandardOutput(FULL.open("wb"), encoding="utf-8") as output:
        with pytest.raises(WriteError, match=r"^standard output cannot be written \(No space left on device\); "):
            print(text, file=output, flush=True)
        print(text, file=output, flush=True)


def test_a_reader_that_has_ended_ends_the_program_quietly(capsys):
    with StandardOutput(pipe_without_reader(), encoding="utf-8") as output:
        with pytest.raises(SystemExit) as ended:
            print("text", file=output, flush=True)
        assert ended.value.code == READER_ENDED == 141
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "sink",
    [pytest.param(lambda: FULL.open("wb"), marks=needs_full_disk), pipe_without_reader],
    ids=["full disk", "ended reader"],
)
def test_output_that_is_not_required_costs_one_line(capsys, sink):
    with StandardOutput(sink(), encoding="utf-8", line_buffering=True) as output:
        output.required = False
        for number in range(3):
            print(number, file=output)
    printed, reported = capsys.readouterr()
    assert printed == ""
    assert reported.startswith("warning: standard output cannot be written (")
    assert reported.endswith("); the run continues without it\n")
    assert reported.count("\n") == 1


PROGRAM = """
import sys
from fashion.cli import ArgumentParser, with_exit_status
def program():
    ArgumentParser(prog="program").parse_args()
    print("text")
with_exit_status(program)
"""


@pytest.mark.process
@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["result", "help"])
def test_a_command_says_that_its_output_is_lost(arguments):
    def run(output) -> tuple[int, str]:
        with output:
            command = [sys.executable, "-c", PROGRAM, *arguments]
            finished = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, cwd=PROJECT)
        return finished.returncode, finished.stderr

    assert run(pipe_without_reader()) == (128 + signal.SIGPIPE, "")
    if FULL.exists():
        status, reported = run(FULL.open("wb"))
        assert status == 2
        assert reported.startswith(f"error: {REASON}; ")
        assert reported.count("\n") == 1
