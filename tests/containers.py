"""The container image, started as an operator starts it: without privileges, with a read-only root, over HTTP.

``make image`` builds it. Tests that use it run with ``pytest --image`` only (``make image-test``), so that neither
``make test`` nor a developer's pytest depends on what was built last. Without podman or docker, or without the image,
they are skipped with the reason; on CI they fail.
"""

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services import free_port
from serving import Answer, basic, form, send_request

from fashion.paths import PROJECT

IMAGE, TRAINING_IMAGE = "localhost/fashion:latest", "localhost/fashion-training:latest"
PASSWORD = "correct horse battery"
ADMIN = basic("admin", PASSWORD)
UNPRIVILEGED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
MEMORY = ["--memory", "400m", "--memory-swap", "400m"]  # the second is the sum with swap, so none is used
MARKER = "image"

Start = Callable[..., "Container"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image", action="store_true", help="only tests of the container image, which `make image` built")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARKER}: needs the container image; only with --image")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "container_engine" in getattr(item, "fixturenames", ()):
            item.add_marker(MARKER)
    wanted = config.getoption("--image")
    unwanted = [item for item in items if (item.get_closest_marker(MARKER) is not None) != wanted]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


class Engine:
    """podman or docker."""

    def __init__(self, program: str) -> None:
        self.program = program

    def run(self, *arguments: object, timeout: float = 120, **options) -> subprocess.CompletedProcess[str]:
        command = [self.program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)

    def check(self, *arguments: object, **options) -> str:
        finished = self.run(*arguments, **options)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.strip()

    def inspect(self, kind: str, name: str) -> dict:
        return json.loads(self.check(kind, "inspect", name))[0]


class Container:
    """A container of the image that runs in the background, on the network of this machine."""

    def __init__(self, engine: Engine, port: int, *arguments: object) -> None:
        self.engine, self.port, self.name = engine, port, f"fashion-test-{uuid.uuid4().hex[:8]}"
        engine.check("run", "--detach", "--name", self.name, "--network", "host", *UNPRIVILEGED, *MEMORY, *arguments)

    def request(self, path: str, body: bytes | None = None, headers=None, timeout: float = 30) -> Answer:
        return send_request(self.port, path, body, headers, timeout)

    def predict(self, content: bytes, headers: dict[str, str]) -> Answer:
        body, kind = form(("file", content))
        return self.request("/predict", body, {**headers, "Content-Type": kind})

    def wait_for(self, path: str = "/readyz", seconds: float = 120) -> "Container":
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.request(path).status == 200:
                    return self
            except OSError:
                if not self.running():
                    break
            time.sleep(0.1)
        raise AssertionError(f"{path} did not become 200: {self.log()}")

    def execute(self, *command: object, **options) -> subprocess.CompletedProcess[str]:
        interactive = ["--interactive"] if "input" in options else []
        return self.engine.run("exec", *interactive, self.name, *command, **options)

    def running(self) -> bool:
        return self.engine.inspect("container", self.name)["State"]["Running"]

    def exit_status(self) -> int:
        return self.engine.inspect("container", self.name)["State"]["ExitCode"]

    def log(self) -> str:
        finished = self.engine.run("logs", self.name)
        return finished.stdout + finished.stderr

    def remove(self) -> None:
        self.engine.run("kill", self.name)
        self.engine.run("rm", "--force", "--volumes", self.name)


@pytest.fixture(scope="session")
def container_engine(starts_processes) -> Engine:
    """podman or docker, whichever has the image."""
    if not Path("/run/systemd/system").exists():  # whose absence podman's defaults do not allow for
        os.environ.setdefault("CONTAINERS_CONF", str(PROJECT / "tests" / "deploy" / "containers.conf"))
    engines = [Engine(program) for program in ("podman", "docker") if shutil.which(program)]
    for engine in engines:
        if engine.run("image", "inspect", IMAGE).returncode == 0:
            return engine
    reason = f"there is no image {IMAGE}; `make image` builds it" if engines else "podman is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def training_image(container_engine) -> str:
    """The training image, which is optional: it takes minutes to build."""
    if container_engine.run("image", "inspect", TRAINING_IMAGE).returncode != 0:
        pytest.skip(f'there is no image {TRAINING_IMAGE}; `make image ARGS="--target training"` builds it')
    return TRAINING_IMAGE


@pytest.fixture(scope="module")
def start_container(container_engine) -> Iterator[Start]:
    """Start containers of the image, with arguments of its program and options of the engine; removed with the module.

    Keywords are environment variables.
    """
    started = []

    def start(*arguments: object, options: tuple = (), port: int | None = None, **environment: object) -> Container:
        port = port or free_port()
        variables = [f"--env={name}={value}" for name, value in ({"PORT": port} | environment).items()]
        started.append(Container(container_engine, port, *variables, *options, IMAGE, *arguments))
        return started[-1]

    yield start
    for container in started:
        container.remove()


@pytest.fixture(scope="module")
def volume(container_engine) -> Iterator[str]:
    """A volume for the state of containers."""
    name = f"fashion-test-{uuid.uuid4().hex[:8]}"
    container_engine.check("volume", "create", name)
    yield name
    container_engine.check("volume", "rm", name)


@pytest.fixture(scope="module")
def password_file(tmp_path_factory) -> tuple[str, str]:
    """Options that mount a secret with the password of the first account, and name it."""
    file = tmp_path_factory.mktemp("secrets") / "admin-password"
    file.write_text(PASSWORD)
    file.chmod(0o444)  # the user in the container is another
    path = "/run/secrets/admin-password"
    return (f"--volume={file}:{path}:ro", f"--env=FASHION_ADMIN_PASSWORD_FILE={path}")
