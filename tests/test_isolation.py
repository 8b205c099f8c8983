"""A test that is not marked cannot leave its process, whatever it tries."""

import os
import re
import subprocess
import sys

import pytest

from fashion.paths import PROJECT

SUITE = """
import contextlib, multiprocessing, os, socket, subprocess, threading
import pytest

def test_subprocess(): subprocess.run(["true"])
def test_system(): os.system("true")
def test_fork():
    if os.fork() == 0: os._exit(0)
def test_multiprocessing(): multiprocessing.get_context("spawn").Process(target=print).start()
def test_swallowed():
    with contextlib.suppress(BaseException): subprocess.run(["true"])
def test_thread():
    thread = threading.Thread(target=lambda: contextlib.suppress(OSError).__enter__() or subprocess.run(["true"]))
    thread.start()
    thread.join()
def test_remote_address(): socket.socket().connect(("192.0.2.1", 80))
def test_remote_name(): socket.getaddrinfo("example.org", 80)
@pytest.fixture
def helper(): subprocess.run(["true"])
def test_set_up(helper): pass

def test_nothing(): pass
def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server: socket.create_connection(server.getsockname()).close()
def test_suspended(unguarded):
    with unguarded(): subprocess.run(["true"], check=True)
@pytest.mark.process
def test_marked(): subprocess.run(["true"], check=True)
@pytest.fixture
def service(starts_processes): subprocess.run(["true"], check=True)
def test_marked_by_its_fixture(service): pass
@pytest.mark.slow
def test_slow(): pass
"""
FORBIDDEN = {"subprocess", "system", "fork", "multiprocessing", "swallowed", "thread"}
REMOTE = {"remote_address", "remote_name"}
ALLOWED = {"nothing", "loopback", "suspended"}
MARKED = {"marked", "marked_by_its_fixture", "slow"}


@pytest.fixture
def run_suite(starts_processes, tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE)

    def run(*options: str) -> dict[str, str]:
        """Run the suite in a pytest of its own; the outcome of each test, with the line that says why it failed."""
        plugins = ["-p", "isolation", "-p", "no:cacheprovider", "-p", "no:schemathesis"]
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-rA", "-W", "ignore", *plugins, *options, tmp_path],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PROJECT / "tests"), "COLUMNS": "400"},
        )
        return {
            name: f"{outcome} {reason}"
            for outcome, name, reason in re.findall(
                r"^(PASSED|FAILED|ERROR) test_suite\.py::test_(\w+)(.*)$", finished.stdout, re.MULTILINE
            )
        }

    return run


def test_what_leaves_the_process_fails_unless_it_is_marked(run_suite):
    outcomes = run_suite()
    assert set(outcomes) == FORBIDDEN | REMOTE | {"set_up"} | ALLOWED | MARKED
    for name in FORBIDDEN:
        assert re.search(rf"^FAILED .*test_{name} starts a process .*mark it with @pytest", outcomes[name])
    assert "connects to ('192.0.2.1', 80)" in outcomes["remote_address"]
    assert "looks up example.org" in outcomes["remote_name"]
    assert outcomes["set_up"].startswith("ERROR")
    for name in ALLOWED | MARKED:
        assert outcomes[name].startswith("PASSED"), outcomes[name]


def test_fast_runs_what_is_not_marked(run_suite):
    assert set(run_suite("--fast")) == FORBIDDEN | REMOTE | {"set_up"} | ALLOWED
