"""The container image: what is in it, as whom it runs, how it starts, refuses to start, and stops."""

import io
import json
import re
import socket
import threading
import tomllib
from itertools import chain

import pytest
from containers import ADMIN, IMAGE, PASSWORD, UNPRIVILEGED
from image_folders import write_classes
from PIL import Image
from services import free_port
from serving import basic, form, png

import fashion
from fashion import artifact
from fashion.benchmarks import container_start
from fashion.paths import PRETRAINED, PROJECT

EXAMPLE = artifact.verify(PRETRAINED)[1].examples[0]
CLIENTS = 12


@pytest.fixture(scope="module")
def container(volume, start_container, password_file):
    """The server with the pretrained model, one account, and its state on a volume."""
    options = ("--volume", f"{volume}:/data", *password_file)
    return start_container(options=options).wait_for()


def test_each_package_of_the_image_is_one_of_the_projects():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    known = chain(project["project"]["dependencies"], *project["project"]["optional-dependencies"].values())
    names = [entry for entry in chain(*project["dependency-groups"].values()) if isinstance(entry, str)]
    assert {re.match(r"[\w-]+", name)[0] for name in names} <= {re.match(r"[\w-]+", name)[0] for name in known}


def test_it_says_what_it_is(container_engine):
    config = container_engine.inspect("image", IMAGE)["Config"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["version"] == fashion.__version__
    assert (labels["title"], labels["licenses"]) == ("fashion", "Apache-2.0")
    assert config["User"] == "10001:10001"
    assert list(config["Volumes"]) == ["/data"]
    assert config["StopSignal"] in {"SIGTERM", "15"}


def test_it_contains_what_serving_needs_only(container):
    listed = container.execute("python", "-c", "import os; print(*os.listdir('/app'), *os.listdir('/app/scripts'))")
    assert set(listed.stdout.split()) >= {"serve.py", "users.py"}
    assert not {"tests", "data", "train.py", ".git"} & set(listed.stdout.split())
    for package in ("tensorflow", "keras", "jax", "pip", "pytest", "optuna"):
        assert "ModuleNotFoundError" in container.execute("python", "-c", f"import {package}").stderr


def test_it_has_no_privileges(container):
    assert container.execute("id", "-u").stdout == "10001\n"
    status = dict(re.findall(r"^(\w+):\s+(.*)$", container.execute("cat", "/proc/1/status").stdout, re.MULTILINE))
    assert status["Uid"].split() == ["10001"] * 4
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert "Read-only file system" in container.execute("touch", "/app/file").stderr
    assert container.execute("find", "/app", "/opt", "-writable", "-not", "-type", "l").stdout == ""


def test_predictions_need_the_account_of_the_secret(container):
    assert container.predict(EXAMPLE.content, {}).status == 401
    assert container.predict(EXAMPLE.content, basic("admin", "password")).status == 401
    answer = container.predict(EXAMPLE.content, ADMIN)
    assert (answer.status, answer.json["predicted_class"]) == (200, EXAMPLE.label)
    assert PASSWORD not in container.log()


def test_every_kind_of_image_file_is_read(container):
    """Each needs a package of its own, some of which are imported as late as here."""
    example = Image.open(io.BytesIO(EXAMPLE.content))
    files = {kind: png(example, kind) for kind in ("PNG", "WEBP", "AVIF")}
    files["upscaled"] = png(example.resize((280, 280), Image.Resampling.BICUBIC))
    steps = {}
    for name, content in files.items():
        answer = container.predict(content, ADMIN)
        assert (answer.status, answer.json["predicted_class"]) == (200, EXAMPLE.label), (name, answer.body)
        steps[name] = answer.json["preprocessing"]["steps"]
    assert steps["upscaled"] == ["restored to 28 x 28 from 280 x 280 (bicubic interpolation)"]


def test_its_health_check_asks_the_server(container, container_engine):
    kind, *command = container_engine.inspect("container", container.name)["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert container.execute(*command).returncode == 0
    elsewhere = f"--env=PORT={free_port()}"
    assert container_engine.run("exec", elsewhere, container.name, *command).returncode == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"FASHION_PROT": "80"}, "FASHION_PROT: there is no such environment variable"),
        ({"FASHION_THREADS": "many"}, "FASHION_THREADS: got 'many', expected a valid integer"),
        ({}, "server.host=0.0.0.0: there are no accounts"),
    ],
)
def test_a_wrong_start_is_one_line_and_exit_status_2(container_engine, start_container, environment, message):
    container = start_container(**environment)
    container_engine.check("wait", container.name)
    assert container.exit_status() == 2
    lines = [line for line in container.log().splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {message}")


def test_state_stays_on_its_volume_and_no_request_is_lost(container, start_container, volume, container_engine):
    """A new release replaces the container while clients send requests: podman kills what is not gone in 10 seconds."""
    added = container.execute("python", "scripts/users.py", "add", "ann", input="another good password\n")
    assert added.returncode == 0, added.stderr
    body, kind = form(("file", EXAMPLE.content))
    headers = {**ADMIN, "Host": "localhost", "Content-Type": kind, "Content-Length": len(body), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST /predict HTTP/1.1\r\n{head}\r\n".encode() + body
    answers: list[bytes] = []
    enough = threading.Event()

    def send() -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", container.port), timeout=30)
            except ConnectionRefusedError:
                return
            with connection:
                connection.sendall(request)
                answers.append(connection.makefile("rb").read())
            if len(answers) > 2 * CLIENTS:
                enough.set()

    threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    container_engine.check("stop", "--time", "10", container.name)
    for thread in threads:
        thread.join()
    assert container.exit_status() == 0
    assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
    predicted = {json.loads(answer.partition(b"\r\n\r\n")[2])["predicted_class"] for answer in answers}
    assert predicted == {EXAMPLE.label}

    second = start_container(options=("--volume", f"{volume}:/data")).wait_for()
    for account in (ADMIN, basic("ann", "another good password")):
        assert second.predict(EXAMPLE.content, account).status == 200
    second.remove()
    container.remove()


def test_the_benchmark_of_starts_measures_this_image(container_engine):
    result = container_start.measure(IMAGE, rounds=1)
    (start,) = result["starts"]
    assert (result["seconds"], result["memory_mb"]) == (start["seconds"], start["memory_mb"])
    assert 0 < start["memory_mb"] < 400
    assert start["processor_seconds"] > 0
    row = f"| {start['seconds']:.1f} s | {start['processor_seconds']:.1f} s | {start['memory_mb']:,.0f} MB |"
    assert container_start.table(result).endswith(row)
    assert "fashion-benchmark-" not in container_engine.check("ps", "--all", "--format", "{{.Names}}")


def test_a_training_image_trains_on_a_mounted_folder(training_image, container_engine, tmp_path):
    """`make image ARGS="--target training"` builds it; no part of it is writable but its volume."""
    write_classes(tmp_path / "photos", {"cat": 40, "dog": 40})
    tmp_path.chmod(0o755)
    results = tmp_path / "results"
    results.mkdir()
    results.chmod(0o777)
    backend = container_engine.inspect("image", training_image)["Config"]["Labels"]["backend"]
    overrides = (
        "data=folder",
        "data.root=/photos",
        "data.image_size=32",
        "model=cnn",
        "trainer.epochs=1",
        "trainer.batch_size=16",
    )
    trained = container_engine.run(
        *("run", "--rm", "--network", "none", *UNPRIVILEGED, f"--volume={tmp_path}/photos:/photos:ro"),
        *(f"--volume={results}:/data", training_image, *overrides),
        *(f"trainer.backend={backend}", "hydra.run.dir=/data/run"),
        timeout=500,
    )
    assert trained.returncode == 0, trained.stderr
    file, card = artifact.verify(results / "run")
    assert (file.suffix, card.classes) == (".keras", ["cat", "dog"])
