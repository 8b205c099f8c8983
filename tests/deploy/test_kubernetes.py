"""deploy/kubernetes: what kubectl renders is valid, unprivileged, and consistent with itself and with the server."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

import fashion
from fashion.paths import PROJECT

KUBERNETES = PROJECT / "deploy" / "kubernetes"
OVERLAYS = ["single", "scaled"]
VERSIONS = ["1.30", "1.37"]  # the first that knows every field used here, and the newest that can be checked
COMMON = {"Namespace", "ConfigMap", "Deployment", "Service", "Ingress", "NetworkPolicy"}

Render = Callable[[Path], list[dict]]


@pytest.fixture(scope="module")
def render(kubectl) -> Render:
    def rendered(folder: Path) -> list[dict]:
        finished = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        assert finished.stderr == ""  # where kustomize warns of deprecated fields
        return list(yaml.safe_load_all(finished.stdout))

    return rendered


@pytest.fixture(scope="module")
def overlays(render) -> dict[str, list[dict]]:
    folders = {name: KUBERNETES / "overlays" / name for name in OVERLAYS} | {"training": KUBERNETES / "training"}
    return {name: render(folder) for name, folder in folders.items()}


def of_kind(resources: list[dict], kind: str) -> dict:
    (found,) = [resource for resource in resources if resource["kind"] == kind]
    return found


def pod(resources: list[dict]) -> dict:
    (template,) = [resource["spec"]["template"] for resource in resources if "template" in resource.get("spec", {})]
    return template["spec"]


def strings(value: object) -> Iterator[str]:
    """Yield every key and value inside, as text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield str(value)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", [*OVERLAYS, "training"])
def test_each_resource_satisfies_the_schema_of_kubernetes(overlay, version, overlays):
    for resource in overlays[overlay]:
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_mistake_is_found(overlays):
    wrong = {**of_kind(overlays["single"], "Service"), "spec": {"port": 80}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_overlays_hold_what_they_say(overlays):
    kinds = {name: {resource["kind"] for resource in resources} for name, resources in overlays.items()}
    assert kinds["single"] == COMMON | {"PersistentVolumeClaim"}
    assert kinds["scaled"] == COMMON | {"HorizontalPodAutoscaler", "PodDisruptionBudget"}
    single = of_kind(overlays["single"], "Deployment")["spec"]
    assert single["replicas"] == 1
    assert single["strategy"] == {"type": "Recreate"}  # never two processes on one SQLite file
    claim = of_kind(overlays["single"], "PersistentVolumeClaim")["metadata"]["name"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": claim}} in pod(overlays["single"])["volumes"]
    assert "replicas" not in of_kind(overlays["scaled"], "Deployment")["spec"]
    assert of_kind(overlays["scaled"], "HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2


@pytest.mark.parametrize("overlay", [*OVERLAYS, "training"])
def test_a_pod_has_no_privileges(overlay, overlays):
    spec = pod(overlays[overlay])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    namespace = of_kind(overlays["single"], "Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    scoped = [resource["metadata"] for resource in overlays[overlay] if resource["kind"] != "Namespace"]
    assert {metadata["namespace"] for metadata in scoped} == {namespace["name"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_files_and_no_manifest_contains_one(overlay, overlays):
    (container,) = pod(overlays[overlay])["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
    secret = {"FASHION_ADMIN_PASSWORD_FILE": "admin-password"}
    if overlay == "scaled":
        secret |= {"FASHION_DATABASE_URL_FILE": "database-url", "FASHION_REDIS_URL_FILE": "redis-url"}
    assert variables == {name: f"{mount['mountPath']}/{key}" for name, key in secret.items()}
    settings = of_kind(overlays[overlay], "ConfigMap")["data"]
    assert not {"FASHION_ADMIN_PASSWORD", "FASHION_DATABASE_URL", "FASHION_REDIS_URL"} & settings.keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_traffic_is_limited_to_what_the_server_needs(overlay, overlays):
    policy = of_kind(overlays[overlay], "NetworkPolicy")["spec"]
    labels = of_kind(overlays[overlay], "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports = [port["port"] for rule in policy.get("egress", []) for port in rule["ports"]]
    assert ports == ([] if overlay == "single" else [53, 53, 5432, 6379])
    (ingress,) = policy["ingress"]
    assert [list(peer) for peer in ingress["from"]] == [["namespaceSelector"]]
    (container,) = pod(overlays[overlay])["containers"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert [named[port["port"]] for port in ingress["ports"]] == [8080]
    assert named[of_kind(overlays[overlay], "Service")["spec"]["ports"][0]["targetPort"]] == 8080


def test_the_host_name_is_changed_in_one_place(render, overlays, tmp_path):
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    settings = tmp_path / "kubernetes" / "base" / "kustomization.yaml"
    settings.write_text(settings.read_text().replace("HOSTS=www.example.org", "HOSTS=a.test"))
    for overlay in OVERLAYS:
        assert "www.example.org" in strings(overlays[overlay])
        changed = list(strings(render(tmp_path / "kubernetes" / "overlays" / overlay)))
        assert "www.example.org" not in changed
        assert changed.count("a.test") == 3  # the setting, the Ingress and its certificate


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_image_is_that_of_this_version(overlay, overlays):
    (container,) = pod(overlays[overlay])["containers"]
    assert container["image"] == f"registry.example.org/fashion:{fashion.__version__}"
