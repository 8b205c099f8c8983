"""Logging never costs an answer, whatever is at the other end of standard error."""

import fcntl
import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fashion.paths import PROJECT
from fashion.server.process.log_output import MAX_PENDING_LINES

LINES = 4000
# Writes more than the pipe and the queue take, and one line more once it was read.
PROGRAM = f"""
import os, sys
from fashion.server.process.log_output import LogOutput
output = LogOutput()
lost = []
output.on_loss = lambda: lost.append(1)
for number in range({LINES}):
    output.write(b"%d %s\\n" % (number, b"x" * 90))
print(len(lost), flush=True)
sys.stdin.readline()
output.drain(60)
output.write(b"last " + b"y" * 100_000 + b"\\n")
"""


def flooded(stderr: int, read) -> tuple[int, list[str]]:
    """Let a program write to an end that nobody reads until it has written; return its losses and all lines."""
    command = [sys.executable, "-c", PROGRAM]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, cwd=PROJECT)
    os.close(stderr)
    lost = int(program.stdout.readline())
    program.stdin.write(b"\n")
    program.stdin.close()
    received = b""
    while part := read():
        received += part
    assert program.wait(timeout=30) == 0
    program.stdout.close()
    return lost, received.decode().splitlines()


@pytest.mark.process
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_gap_is_reported_once_in_its_place(kind):
    ours, theirs = os.pipe() if kind == "pipe" else [end.detach() for end in socket.socketpair()]
    try:
        lost, lines = flooded(theirs, lambda: os.read(ours, 65536))
    finally:
        os.close(ours)
    assert lines.pop() == "last " + "y" * 100_000  # longer than what a pipe takes at once
    report = json.loads(lines.pop())
    assert report["message"] == "log lines were dropped, because standard error could not be written"
    assert report["dropped"] == lost == LINES - len(lines)
    assert lines == [f"{number} {'x' * 90}" for number in range(len(lines))]
    assert len(lines) >= MAX_PENDING_LINES


@pytest.mark.process
def test_libraries_in_c_are_not_blocked_and_others_that_use_the_pipe_are_not_changed():
    ours, theirs = os.pipe()
    program = (
        "from fashion.server.process.log_output import LogOutput; LogOutput(); import os; os.write(2, bytes(10**6))"
    )
    finished = subprocess.run([sys.executable, "-c", program], stderr=theirs, cwd=PROJECT, timeout=30)
    assert finished.returncode == 0  # it wrote what there was room for
    assert not fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(ours)
    os.close(theirs)


@pytest.mark.process
def test_a_closed_standard_error_is_replaced():
    program = "from fashion.server.process.log_output import LogOutput; LogOutput().write(b'line'); print(open('/').fd)"
    program = program.replace("open('/').fd", "__import__('os').readlink('/proc/self/fd/2')")
    finished = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -c "$0" 2>&-', program], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )
    assert finished.stdout == "/dev/null\n"


def asked(server, path: str, times: int) -> None:
    """Ask on one connection, and expect every answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(times):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def dropped(server) -> float:
    (line,) = (
        line for line in server.request("/metrics").body.decode().splitlines() if line.startswith("fashion_log_lines")
    )
    return float(line.split()[1])


def test_a_reader_that_stops_costs_no_answer_nor_does_one_that_ends(start_server):
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    server = start_server(stderr=theirs)
    os.close(theirs)
    try:
        server.wait_until_ready()
        assert dropped(server) == 0
        asked(server, "/livez", MAX_PENDING_LINES + 100)
        lost = dropped(server)
        assert lost > 50
        # Read until the report of what was lost, which more requests follow.
        received = b""
        while b"log lines were dropped" not in received or not received.endswith(b"\n"):
            received += os.read(ours, 65536)
        (report,) = (line for line in map(json.loads, received.splitlines()) if "dropped" in line)
        assert lost <= report["dropped"] <= lost + 1  # the line of the request for the metrics itself
        assert dropped(server) == report["dropped"]
    finally:
        os.close(ours)
    asked(server, "/livez", 10)
    assert server.request("/").status == 200
    assert server.stop() == 0


def test_a_full_disk_costs_no_answer(start_server):
    with Path("/dev/full").open("wb") as full:
        server = start_server(stderr=full.fileno()).wait_until_ready()
    asked(server, "/livez", MAX_PENDING_LINES + 100)
    assert dropped(server) > 50
    assert server.request("/nothing").status == 404
    assert server.connect(b"nonsense\r\n\r\n").recv(100).startswith(b"HTTP/1.1 400 ")
    assert server.stop() == 0
