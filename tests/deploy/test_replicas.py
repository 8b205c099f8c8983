"""deploy/kubernetes/overlays/scaled under ``podman play kube``: two replicas share accounts, sessions and limits.

They have a real PostgreSQL and Redis. podman 4.3 starts one pod for a Deployment, whatever its replicas, so the overlay
is rendered twice; it has no Services, so each replica gets a port of this machine. It does not decode a Secret that is
mounted as files, and shares an emptyDir among pods, so those volumes are folders here.
"""

import contextlib
import http.client
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from containers import ADMIN, IMAGE, PASSWORD, Engine
from services import free_port
from serving import Answer, basic, form

from fashion import artifact
from fashion.paths import PRETRAINED, PROJECT

SCALED = PROJECT / "deploy" / "kubernetes" / "overlays" / "scaled"
EXAMPLE = artifact.verify(PRETRAINED)[1].examples[0]
USER = 10001
READY_WITHIN = 120.0
# What the ingress controller adds.
FORWARDED = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "www.example.org"}


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


def write_overlay(folder: Path, suffix: str, port: int, secrets: Path) -> None:
    """Write an overlay of ``scaled`` for one replica on this machine."""
    volumes = {"secrets": secrets}
    for name in ("data", "tmp"):
        volumes[name] = folder / name
        volumes[name].mkdir(parents=True)
        os.chown(volumes[name], USER, USER)
    before = {"secrets": "secret", "data": "emptyDir", "tmp": "emptyDir"}
    paths = [{"name": name, before[name]: None, "hostPath": {"path": str(path)}} for name, path in volumes.items()]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "fashion"},
        "spec": {"template": {"spec": {"volumes": paths, "containers": [{"name": "server", "ports": None}]}}},
    }
    image, _, tag = IMAGE.rpartition(":")
    kustomization = {
        "resources": [os.path.relpath(SCALED, folder)],
        "nameSuffix": suffix,
        "images": [{"name": "registry.example.org/fashion", "newName": image, "newTag": tag}],
        "configMapGenerator": [{"name": "fashion", "behavior": "merge", "literals": [f"FASHION_PORT={port}"]}],
        "patches": [{"patch": yaml.safe_dump(deployment)}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))


@pytest.fixture(scope="module")
def replicas(container_engine, kubectl, postgresql_url, redis_url, tmp_path_factory) -> Iterator[list[Replica]]:
    if container_engine.program != "podman":
        pytest.skip("docker cannot play Kubernetes' manifests")
    if os.geteuid() != 0:
        pytest.skip("the volumes of the user in the container are made by root")
    secrets = tmp_path_factory.mktemp("secrets")
    os.chown(secrets, USER, USER)
    contents = {"admin-password": PASSWORD, "database-url": postgresql_url, "redis-url": redis_url}
    for name, content in contents.items():
        (secrets / name).write_text(content)
    started = []
    try:
        for _ in range(2):
            folder, port, suffix = tmp_path_factory.mktemp("replica"), free_port(), f"-{uuid.uuid4().hex[:8]}"
            write_overlay(folder, suffix, port, secrets)
            rendered = subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True)
            manifest = folder / "rendered.yaml"
            manifest.write_text(rendered.stdout)
            started.append(Replica(container_engine, f"fashion{suffix}", port, manifest))
            container_engine.check("play", "kube", "--network", "host", manifest)
        for replica in started:
            replica.wait_until_ready()
        yield started
    finally:
        for replica in started:
            container_engine.run("play", "kube", "--down", replica.manifest)


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
    command = ["exec", "--interactive", first.container(), "python", "scripts/users.py", "add", "ann"]
    first.engine.check(*command, input="another good password\n")
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
