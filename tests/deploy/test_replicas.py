"""deploy/kubernetes under ``podman play kube``: two replicas of ``scaled`` share state, ``single`` keeps its own.

The two have a real PostgreSQL and Redis. podman 4.3 starts one pod for a Deployment, whatever its replicas, so the
overlay is rendered twice; it has no Services, so each replica gets a port of this machine. It does not decode a Secret
that is mounted as files, and shares an emptyDir among pods, so those volumes are folders here.
"""

import contextlib
import http.client
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from containers import ADMIN, IMAGE, PASSWORD, Engine
from services import free_port
from serving import Answer, basic, form

from fashion import artifact
from fashion.paths import PRETRAINED, PROJECT

OVERLAYS = PROJECT / "deploy" / "kubernetes" / "overlays"
EXAMPLE = artifact.verify(PRETRAINED)[1].examples[0]
USER = 10001
READY_WITHIN = 120.0
# What the ingress controller adds.
FORWARDED = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "www.example.org"}

Play = Callable[[str, dict[str, str]], "Replica"]


class Replica:
    """A pod of the overlay."""

    def __init__(self, engine: Engine, name: str, port: int, manifest: Path) -> None:
        self.engine, self.name, self.port, self.manifest = engine, name, port, manifest

    def request(self, path: str, body: bytes | None = None, address: str = "192.0.2.1", **headers: str) -> Answer:
        """Send a request as the ingress controller forwards it; redirects are not followed."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        method = "GET" if body is None else "POST"
        connection.request(method, path, body, {**FORWARDED, "X-Forwarded-For": address, **sent})
        with contextlib.closing(connection), connection.getresponse() as response:
            return Answer(response.status, dict(response.headers), response.read())

    def start(self) -> None:
        self.engine.check("play", "kube", "--network", "host", self.manifest)

    def stop(self) -> None:
        """Remove the pod; its volume claims stay."""
        self.engine.run("play", "kube", "--down", self.manifest)

    def remove(self) -> None:
        self.stop()
        self.engine.run("volume", "rm", f"fashion-data{self.name.removeprefix('fashion')}")

    def add_account(self, name: str, password: str) -> None:
        command = ["exec", "--interactive", self.container(), "python", "scripts/users.py", "add", name]
        self.engine.check(*command, input=f"{password}\n")

    def container(self) -> str:
        return f"{self.name}-pod-0-server"

    def log(self) -> str:
        finished = self.engine.run("logs", self.container())
        return finished.stdout + finished.stderr

    def wait_until_ready(self) -> None:
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end and "error: " not in self.log():
            try:
                if self.request("/readyz").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"{self.name} is not ready: {self.log()}")


@pytest.fixture(scope="module")
def play(container_engine, kubectl, tmp_path_factory) -> Iterator[Play]:
    """Start a pod of an overlay, whose secrets are files with these contents."""
    if container_engine.program != "podman":
        pytest.skip("docker cannot play Kubernetes' manifests")
    if os.geteuid() != 0:
        pytest.skip("the volumes of the user in the container are made by root")
    started: list[Replica] = []

    def start(overlay: str, secrets: dict[str, str]) -> Replica:
        folder, port, suffix = tmp_path_factory.mktemp("replica"), free_port(), f"-{uuid.uuid4().hex[:8]}"
        write_overlay(folder, overlay, suffix, port)
        for name, content in secrets.items():
            (folder / "secrets" / name).write_text(content)
        rendered = subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True)
        manifest = folder / "rendered.yaml"
        manifest.write_text(rendered.stdout)
        started.append(Replica(container_engine, f"fashion{suffix}", port, manifest))
        started[-1].start()
        return started[-1]

    yield start
    for replica in started:
        replica.remove()


def write_overlay(folder: Path, overlay: str, suffix: str, port: int) -> None:
    """Write an overlay of an overlay, for one replica on this machine."""
    sources = {"secrets": "secret", "tmp": "emptyDir"} | ({"data": "emptyDir"} if overlay == "scaled" else {})
    volumes = []
    for name, source in sources.items():
        (folder / name).mkdir()
        os.chown(folder / name, USER, USER)
        volumes.append({"name": name, source: None, "hostPath": {"path": str(folder / name)}})
    containers = [{"name": "server", "ports": None}]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "fashion"},
        "spec": {"template": {"spec": {"volumes": volumes, "containers": containers}}},
    }
    image, _, tag = IMAGE.rpartition(":")
    kustomization = {
        "resources": [os.path.relpath(OVERLAYS / overlay, folder)],
        "nameSuffix": suffix,
        "images": [{"name": "registry.example.org/fashion", "newName": image, "newTag": tag}],
        "configMapGenerator": [{"name": "fashion", "behavior": "merge", "literals": [f"FASHION_PORT={port}"]}],
        "patches": [{"patch": yaml.safe_dump(deployment)}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))


@pytest.fixture(scope="module")
def replicas(play, postgresql_url, redis_url) -> list[Replica]:
    secrets = {"admin-password": PASSWORD, "database-url": postgresql_url, "redis-url": redis_url}
    started = [play("scaled", secrets) for _ in range(2)]
    for replica in started:
        replica.wait_until_ready()
    return started


def test_both_run_without_privileges(replicas):
    for replica in replicas:
        config = replica.engine.inspect("container", replica.container())
        assert config["HostConfig"]["ReadonlyRootfs"] is True
        assert config["EffectiveCaps"] in (None, [])
        assert "no-new-privileges" in config["HostConfig"]["SecurityOpt"]
        assert replica.engine.check("exec", replica.container(), "id", "-u") == str(USER)
        assert PASSWORD not in replica.log()


def test_they_share_accounts(replicas):
    first, second = replicas
    body, kind = form(("file", EXAMPLE.content))
    for replica in replicas:
        answer = replica.request("/predict", body, **ADMIN, Content_Type=kind)
        assert (answer.status, answer.json["predicted_class"]) == (200, EXAMPLE.label)
    ann = basic("ann", "another good password")
    assert second.request("/metrics", **ann).status == 401
    first.add_account("ann", "another good password")
    assert second.request("/predict", body, **ann, Content_Type=kind).status == 200


def test_they_share_sessions(replicas):
    first, second = replicas
    fields = f"name=admin&password={PASSWORD.replace(' ', '+')}".encode()
    browser = {"Content_Type": "application/x-www-form-urlencoded", "Sec_Fetch_Site": "same-origin"}
    signed_in = first.request("/login", fields, **browser)
    cookie = signed_in.headers["Set-Cookie"].partition(";")[0]
    assert cookie.startswith("__Host-fashion=")
    assert second.request("/history", Accept="text/html").status == 303  # to the log-in page
    assert second.request("/history", Accept="text/html", Cookie=cookie).status == 200
    assert second.request("/logout", b"", Cookie=cookie, **browser).status == 303
    assert first.request("/history", Accept="text/html", Cookie=cookie).status == 303


def test_they_count_failed_log_ins_together(replicas):
    wrong = basic("nobody", "a guess")
    guesses = [replicas[guess % 2].request("/metrics", address="192.0.2.77", **wrong) for guess in range(20)]
    assert [answer.status for answer in guesses] == [401] * 20
    for replica in replicas:
        assert replica.request("/metrics", address="192.0.2.77", **wrong).status == 429
        assert replica.request("/metrics", address="192.0.2.78", **ADMIN).status == 200


def test_a_single_replica_keeps_its_accounts_on_its_volume(play):
    replica = play("single", {"admin-password": PASSWORD})
    replica.wait_until_ready()
    replica.add_account("ann", "another good password")
    replica.stop()
    manifests = list(yaml.safe_load_all(replica.manifest.read_text()))
    unclaimed = [manifest for manifest in manifests if manifest["kind"] != "PersistentVolumeClaim"]
    assert len(unclaimed) == len(manifests) - 1
    replica.manifest.write_text(yaml.safe_dump_all(unclaimed))  # podman 4.3 refuses a claim whose volume exists
    replica.start()
    replica.wait_until_ready()
    assert replica.request("/metrics", **basic("ann", "another good password")).status == 200
