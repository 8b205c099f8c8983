"""A small model, the application over it in this process, and the whole server in processes of its own."""

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import argon2
import keras
import numpy as np
import pytest
import yaml
from PIL import Image

import fashion.server.storage.accounts
import fashion.server.storage.request_log
from fashion import artifact
from fashion.card import Card, DataEntry, ExampleEntry, PageEntry, SplitScores
from fashion.data.dataset import PageText
from fashion.inference.predictor import Predictor
from fashion.paths import PROJECT
from fashion.preprocessing.input_spec import InputSpec
from fashion.server.app import create_app
from fashion.server.service.served_model import ServedModel
from fashion.server.settings import Settings
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.request_log import RequestLog
from fashion.uncertainty.fitting import add_to_card, fit_abstention
from fashion.uncertainty.posthoc import PosthocUncertainty

CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
CARD = Card(classes=CLASSES, seed=0, backend="jax", test=SplitScores(accuracy=0.1, images=10), config={})
PIXELS_MEAN, PIXELS_DEVIATION = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)
SETTINGS = yaml.safe_load((PROJECT / "configs" / "server" / "default.yaml").read_text())
SETTINGS |= {"port": 0, "database_url": "sqlite:///unused"}
QUICK_HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
ADMIN = {"Authorization": "Basic " + base64.b64encode(b"admin:password").decode()}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def png(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def form(*parts: tuple[str, bytes], name: str = "p.png") -> tuple[bytes, str]:
    """A multipart body and its type, made by hand so that it can contain anything."""
    body = b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
        % (field.encode(), name.encode(), content)
        for field, content in parts
    )
    return body + b"--XX--\r\n", "multipart/form-data; boundary=XX"


@pytest.fixture(scope="session")
def small_artifact(tmp_path_factory) -> Path:
    images = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(images)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x)))
    # Far from uniform, so that a wrong pixel changes the answer.
    model.set_weights([weight * 5 for weight in model.get_weights()])
    folder = tmp_path_factory.mktemp("artifact")
    artifact.save(model, calibrated_card(model), folder)
    return folder


def calibrated_card(model: keras.Model) -> Card:
    """A card with a temperature, and an abstention that accepts every image."""
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28, 1), np.uint8)
    outputs, labels = Predictor(model, features=True).outputs(images), np.arange(300) % 10
    fitted = fit_abstention(outputs.features, labels, outputs.features)._replace(threshold=1e6)
    card = CARD.model_copy(update={"examples": example_entries(("Bag", "Ankle boot"), images[:2])})
    return add_to_card(card, PosthocUncertainty(1.5, fitted), labels, outputs)


def small_network(shape: tuple[int, int, int], classes: int) -> keras.Model:
    images = keras.Input(shape)
    x = keras.layers.AveragePooling2D(max(1, min(shape[:2]) // 14))(images)
    model = keras.Model(images, keras.layers.Dense(classes, activation="softmax")(keras.layers.Flatten()(x)))
    generator = np.random.default_rng(classes)
    model.set_weights([generator.normal(0, 0.1, weight.shape) for weight in model.get_weights()])
    return model


def example_entries(labels: Iterable[str], images: np.ndarray) -> list[ExampleEntry]:
    return [
        ExampleEntry(label=label, file=base64.b64encode(png(image.squeeze())).decode())
        for label, image in zip(labels, images, strict=True)
    ]


def other_card(spec: InputSpec, classes: Sequence[str], **page: object) -> Card:
    """The card of a model of somebody's own images, with an example of its first and last class."""
    images = np.random.default_rng(1).integers(0, 256, (2, *spec.shape), np.uint8)
    mean, deviation = PIXELS_MEAN[: spec.channels], PIXELS_DEVIATION[: spec.channels]
    return Card(
        classes=list(classes),
        input=spec,
        data=DataEntry(name="animals", title="Animals", digests={}, pixel_mean=mean, pixel_deviation=deviation),
        page=PageEntry(**{**PageText()._asdict(), **page}),
        examples=example_entries((classes[0], classes[-1]), images),
        seed=0,
        backend="jax",
        test=SplitScores(accuracy=0.1, images=10),
        config={},
    )


@pytest.fixture(scope="session")
def served_model(small_artifact, keras_backend) -> ServedModel:
    model = ServedModel(small_artifact, keras_backend)
    model.load()
    return model


@pytest.fixture
def real_hashing():
    """Hash as the server does, where a test is about that; elsewhere it would take most of the time."""


@pytest.fixture(scope="session")
def database_with_the_default_account(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("database") / "fashion.db"
    accounts = Accounts(f"sqlite:///{file}")
    accounts.upgrade()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashion.server.storage.accounts, "HASHER", QUICK_HASHER)
        accounts.create_default()
    accounts.database.close()
    return file


@pytest.fixture
def accounts(request, database_with_the_default_account, tmp_path, monkeypatch):
    if "real_hashing" not in request.fixturenames:
        monkeypatch.setattr(fashion.server.storage.accounts, "HASHER", QUICK_HASHER)
    shutil.copy(database_with_the_default_account, tmp_path / "fashion.db")
    opened = Accounts(f"sqlite:///{tmp_path}/fashion.db")
    opened.has_default_account()  # with real hashing, this replaces the quick hash
    yield opened
    opened.database.close()


@pytest.fixture
def make_app(served_model, accounts, monkeypatch):
    monkeypatch.setattr(fashion.server.storage.request_log, "BATCH_SECONDS", 0)
    logs = []

    def make(model=served_model, **changed):
        logs.append(RequestLog(accounts.database))
        return create_app(Settings(**{**SETTINGS, **changed}), model, accounts, logs[-1])

    yield make
    for log in logs:
        log.close()


@pytest.fixture
def client(make_app):
    return make_app().test_client()


@pytest.fixture
def post(client):
    """Send files to /predict as admin."""

    def send(*contents: bytes, path="/predict", field="file", headers=ADMIN, **options):
        body, kind = form(*((field, content) for content in contents), **options)
        return client.post(path, data=body, content_type=kind, headers=headers)

    return send


@pytest.fixture
def sign_in():
    """Sign in as a browser does, which says from then on that its own pages send the requests."""

    def send(client, name="admin", password="password", **form) -> None:
        client.environ_base["HTTP_SEC_FETCH_SITE"] = "same-origin"
        answer = client.post("/login", data={"name": name, "password": password, **form})
        assert answer.status_code == 303, answer.text

    return send


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def send_request(port: int, path: str, body: bytes | None = None, headers=None, timeout: float = 30) -> Answer:
    """Send a request to a server on this machine."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read())


class Server:
    """``python scripts/serve.py`` as a process, spoken to over HTTP."""

    def __init__(self, artifact_folder: Path, folder: Path, *settings: str, stderr: int | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.log_file = folder / "server.log"
        arguments = [
            f"artifact={artifact_folder}",
            f"backend={os.environ.get('KERAS_BACKEND', 'jax')}",
            f"server.port={self.port}",
            f"server.database_url=sqlite:///{folder}/fashion.db",
            *settings,
        ]
        self.connections: list[socket.socket] = []
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(PROJECT / "scripts" / "serve.py"), *arguments],
                stderr=log if stderr is None else stderr,
                stdout=log,
                cwd=folder,
            )

    def request(self, path: str, body: bytes | None = None, headers=None, timeout: float = 30) -> Answer:
        return send_request(self.port, path, body, headers, timeout)

    def predict(self, content: bytes, timeout: float = 30, **headers: str) -> Answer:
        body, kind = form(("file", content))
        return self.request("/predict", body, {**ADMIN, "Content-Type": kind, **headers}, timeout)

    def connect(self, sent: bytes = b"", source: str = "127.0.0.1", timeout: float = 30) -> socket.socket:
        """Open a connection, which is closed at the end of the test."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=timeout, source_address=(source, 0))
        self.connections.append(connection)
        connection.sendall(sent)
        return connection

    def wait_until_ready(self, seconds: float = 90) -> "Server":
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(self.log())
            try:
                if self.request("/readyz").status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not ready after {seconds} s: {self.log()}")

    def log(self) -> str:
        return self.log_file.read_text()

    def lines(self, message: str) -> list[dict]:
        lines = (json.loads(line) for line in self.log().splitlines() if line.startswith("{"))
        return [line for line in lines if line["message"] == message]

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def resident_mebibytes(self) -> float:
        pages = int(Path(f"/proc/{self.workers()[0]}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close_connections(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()

    def stop(self) -> int:
        self.close_connections()
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=60)


@pytest.fixture
def start_server(starts_processes, small_artifact, tmp_path_factory):
    """Start a server with settings of its own, for one test."""
    started = []

    def start(*settings: str, folder: Path | None = None, stderr: int | None = None) -> Server:
        started.append(Server(small_artifact, folder or tmp_path_factory.mktemp("server"), *settings, stderr=stderr))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def shared_server(starts_processes, small_artifact, tmp_path_factory):
    server = Server(small_artifact, tmp_path_factory.mktemp("server"), "server.request_seconds=3")
    yield server.wait_until_ready()
    server.stop()


@pytest.fixture
def server(shared_server):
    """One server for all tests that do not change it."""
    yield shared_server
    shared_server.close_connections()
