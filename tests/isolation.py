"""Fast tests, which stay inside their own process, and the two kinds that are not fast.

``pytest --fast`` (``make test-fast``) runs the fast ones: they start no process, open no connection to another machine
and need no service. The others are marked:

- ``process``: a test that breaks one of these rules. A test that uses a fixture which requests ``starts_processes`` is
  marked automatically. An unmarked test that starts a process or connects to another machine fails, whatever the code
  under test makes of the error.
- ``slow``: computes for more than about three seconds.
"""

import _posixsubprocess  # below the audit hooks: multiprocessing and joblib call it directly
import contextlib
import ipaddress
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

STARTS_PROCESS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
PROCESS, SLOW, FIXTURE = "process", "slow", "starts_processes"

_guarded: str | None = None  # the fast test that runs now
_broken: list[str] = []  # what it did that it must not do
_fork_exec = _posixsubprocess.fork_exec


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only tests that stay in this process and take no time")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{PROCESS}: starts a process, uses the network or needs a service")
    config.addinivalue_line("markers", f"{SLOW}: computes for more than about three seconds")
    sys.addaudithook(_audit)
    _posixsubprocess.fork_exec = _watched_fork_exec


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if FIXTURE in getattr(item, "fixturenames", ()):
            item.add_marker(PROCESS)
    items.sort(
        key=lambda item: item.get_closest_marker(PROCESS) is None
    )  # the longest first, so that none is left alone
    if config.getoption("--fast"):
        fast = [item for item in items if not (item.get_closest_marker(PROCESS) or item.get_closest_marker(SLOW))]
        config.hook.pytest_deselected(items=[item for item in items if item not in fast])
        items[:] = fast


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _guarded
    _guarded = None if item.get_closest_marker(PROCESS) else item.nodeid
    try:
        return (yield)
    finally:
        _guarded = None
        _broken.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    yield
    _fail_if_broken()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    yield
    _fail_if_broken()


@pytest.fixture(scope="session")
def starts_processes() -> None:
    """Requested by every fixture that starts a process or uses the network; it marks the tests that use them."""


@pytest.fixture(scope="session")
def unguarded() -> Callable[[], AbstractContextManager[None]]:
    """Suspend the rule in a ``with`` block, for set-up that fast tests share with others."""

    @contextlib.contextmanager
    def suspended() -> Iterator[None]:
        global _guarded
        guarded, _guarded = _guarded, None
        try:
            yield
        finally:
            _guarded = guarded

    return suspended


def _audit(event: str, arguments: tuple) -> None:
    if _guarded is None:
        return
    if event in STARTS_PROCESS:
        command = arguments[1] if event == "subprocess.Popen" else event
        _refuse(f"starts a process ({command})")
    elif event == "socket.connect" and _is_remote(arguments[1]):
        _refuse(f"connects to {arguments[1]}")
    elif event == "socket.getaddrinfo" and _is_remote(arguments[:1]):
        _refuse(f"looks up {arguments[0]}")


def _watched_fork_exec(*arguments: object) -> int:
    if _guarded is not None:
        _refuse(f"starts a process ({arguments[0]})")
    return _fork_exec(*arguments)


def _is_remote(address: object) -> bool:
    """Whether a socket address is another machine's; a path or a descriptor is of this one."""
    host = address[0] if isinstance(address, tuple) else None
    if isinstance(host, bytes):
        host = host.decode()
    if host in {None, "", "localhost"}:
        return False
    try:
        return not ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return True


def _refuse(what: str) -> None:
    text = (
        f"{_guarded} {what}, which a fast test must not do: mark it with @pytest.mark.{PROCESS}, "
        f"or let the fixture that does so request `{FIXTURE}`"
    )
    _broken.append(text)
    if threading.current_thread() is threading.main_thread():
        pytest.fail(text)
    raise PermissionError(text)


def _fail_if_broken() -> None:
    if _broken:
        text = _broken[0]
        _broken.clear()
        pytest.fail(text, pytrace=False)
