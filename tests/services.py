"""PostgreSQL, Redis, nginx and Chromium for the tests: real ones, on free ports, in folders that go with them.

`make services` installs them on Debian. Without them the tests that need one are skipped, with the reason; on CI they
fail.
"""

import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from playwright.sync_api import Browser, sync_playwright

PASSWORD = "s3cret-of-the-database"
STARTS_WITHIN = 60.0
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.process)]  # parameters of fixtures

_names = (f"test_{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def postgresql_url(starts_processes) -> Iterator[str]:
    """The address of an empty database on a PostgreSQL of this test session."""
    programs = _postgresql_programs()
    port = free_port()
    with folder_open_to_all() as folder:
        # PostgreSQL refuses to run as root; Debian's package brings a user for it.
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if user:
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
        password_file = folder / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        subprocess.run(
            [
                *(programs / "initdb", "--pgdata", folder / "data", "--username", "fashion", "--encoding", "UTF8"),
                *("--auth", "scram-sha-256", "--pwfile", password_file, "--no-locale", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **user,
        )
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        command = [
            programs / "postgres",
            "-D",
            folder / "data",
            *(f"--{key}={value}" for key, value in options.items()),
        ]
        url = f"postgresql://fashion:{PASSWORD}@127.0.0.1:{port}/postgres"
        with _running(command, folder, lambda: psycopg.connect(url).close(), psycopg.OperationalError, **user):
            yield url


@pytest.fixture
def empty_postgresql_url(postgresql_url) -> str:
    """The address of a schema that no other test writes to; a database each would take a minute to shut down."""
    name = next(_names)
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgresql_url}?options=-csearch_path%3D{name}"


@pytest.fixture(scope="session")
def redis_url(starts_processes) -> Iterator[str]:
    """The address of a Redis of this test session."""
    program = shutil.which("redis-server") or missing("redis-server")
    port = free_port()
    with folder_open_to_all() as folder:
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
        url = f"redis://127.0.0.1:{port}/0"
        with _running(command, folder, redis.Redis.from_url(url).ping, redis.ConnectionError):
            yield url


@pytest.fixture(scope="module")
def start_nginx(starts_processes) -> Iterator[Callable[[str, int], None]]:
    """Start an nginx with the `server` blocks of a configuration, once it listens on a port."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin") or missing("nginx")
    with folder_open_to_all() as folder, contextlib.ExitStack() as running:

        def start(servers: str, port: int) -> None:
            kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            files = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
            # One process, which stays the user's.
            start = f"daemon off; master_process off; pid {folder}/pid; events {{}}"
            (folder / "nginx.conf").write_text(f"{start} http {{ access_log off; {files} {servers} }}")
            command = [program, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
            greet = functools.partial(socket.create_connection, ("127.0.0.1", port))
            running.enter_context(_running(command, folder, lambda: greet().close(), ConnectionRefusedError))

        yield start


@pytest.fixture(scope="session")
def kubectl(starts_processes) -> str:
    """The kubectl of the environment, which has a wheel for Linux only."""
    return shutil.which("kubectl", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}") or missing(
        "kubectl"
    )


@pytest.fixture(scope="module")
def browser(starts_processes) -> Iterator[Browser]:
    """The system's Chromium, without a window; for one module, since meanwhile no other event loop can run."""
    program = shutil.which("chromium") or missing("chromium")
    with sync_playwright() as playwright:
        # Root has to do without the sandbox. The name is one that a browser does not trust as it trusts localhost.
        arguments = ["--no-sandbox", "--host-resolver-rules=MAP fashion.test 127.0.0.1"]
        opened = playwright.chromium.launch(executable_path=program, args=arguments)
        yield opened
        opened.close()


def missing(service: str) -> str:
    """Skip a test for want of a program; on CI, fail it."""
    reason = f"{service} is not installed; `make services` installs it on Debian"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _postgresql_programs() -> Path:
    """Return the folder of PostgreSQL's programs; Debian keeps them off the PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = installed[-1] if installed else shutil.which("postgres")
    return Path(found or missing("postgresql")).parent


@contextlib.contextmanager
def folder_open_to_all() -> Iterator[Path]:
    """Yield a folder of the system's temporary ones: pytest's are closed to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="fashion-tests-") as folder:
        yield Path(folder)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def _running(
    command: list, folder: Path, greet: Callable[[], object], refused: type[Exception], **user: object
) -> Iterator[None]:
    """Run a server until the block ends, once it answers."""
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=folder, **user)
    try:
        started = time.monotonic()
        while True:
            try:
                greet()
                break
            except refused as error:
                if server.poll() is not None or time.monotonic() - started > STARTS_WITHIN:
                    pytest.fail(f"{command[0]} did not start ({error}): {(folder / 'log').read_text()}")
                time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: open connections are closed
        server.wait(STARTS_WITHIN)
