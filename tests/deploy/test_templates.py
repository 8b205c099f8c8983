"""deploy/: every template is valid by what can check it without its platform, and agrees with the server and itself.

Cloud Run's and KServe's own schemas are not published as packages; the part that they share with Kubernetes, the pod,
is checked against the schema of Kubernetes.
"""

import re
import subprocess
import sys
from collections.abc import Iterator

import cfnlint.api
import kubernetes_validate
import pytest
import yaml
from azure.mgmt.appcontainers.models import ContainerApp
from cfnlint import ManualArgs

import fashion
from fashion.paths import PROJECT
from fashion.server.environment import KNOWN
from fashion.server.process.master import KILL_SECONDS
from fashion.server.settings import MAX_BODY_BYTES

DEPLOY = PROJECT / "deploy"
TEMPLATES = sorted(path for path in DEPLOY.rglob("*") if path.suffix in (".yaml", ".service", ".sbatch"))
CLOUD = ["cloud-run/service.yaml", "aws/fargate.yaml", "azure/container-app.yaml"]
STRICT = ManualArgs(include_checks=["I"])  # with what is merely informational
IDS = {"ids": lambda path: str(path.relative_to(DEPLOY))}


def load(name: str) -> dict:
    return yaml.safe_load((DEPLOY / name).read_text())


def text(name: str) -> str:
    return (DEPLOY / name).read_text()


@pytest.mark.parametrize("path", TEMPLATES, **IDS)
def test_a_template_sets_what_the_server_reads(path):
    named = set(re.findall(r"\bFASHION_[A-Z_]+\b", path.read_text()))
    assert named <= KNOWN


@pytest.mark.parametrize("path", TEMPLATES, **IDS)
def test_the_version_is_this_one(path):
    found = re.findall(r"/fashion(?:-training)?:(\d[\w.]*)|newTag: (\S+)", path.read_text())
    assert {version for groups in found for version in groups if version} <= {fashion.__version__}


@pytest.mark.parametrize("path", TEMPLATES, **IDS)
def test_no_template_contains_a_secret(path):
    given = re.findall(r"(?:PASSWORD|DATABASE_URL|REDIS_URL)(?:=|: |, Value: |\s+value: )(\S+)", path.read_text())
    assert [value for value in given if not value.startswith("sqlite:")] == []


@pytest.mark.parametrize("name", CLOUD)
def test_a_server_on_a_cloud_platform_has_a_name_a_proxy_and_shared_state(name):
    """Several replicas answer, behind one proxy, so accounts, sessions and failed log-ins must be shared."""
    settings = set(re.findall(r"FASHION_\w+", text(name)))
    assert {"FASHION_ALLOWED_HOSTS", "FASHION_TRUSTED_PROXIES"} <= settings
    assert {setting.removesuffix("_FILE") for setting in settings} >= {
        "FASHION_ADMIN_PASSWORD",
        "FASHION_DATABASE_URL",
        "FASHION_REDIS_URL",
    }
    assert "FASHION_PLATFORM" not in settings  # whose routes need no log-in


@pytest.mark.parametrize("name", ["aws/fargate.yaml", "aws/sagemaker.yaml"])
def test_cloudformation_templates_satisfy_the_schemas_of_aws(name):
    assert [str(match) for match in cfnlint.api.lint(text(name), config=STRICT)] == []
    wrong = text(name).replace("AssumeRolePolicyDocument:", "AssumeRolePolicy:")
    assert {match.rule.id for match in cfnlint.api.lint(wrong, config=STRICT)} == {"E3002", "E3003"}


def test_the_proxies_pass_the_largest_request():
    ingress = load("kubernetes/base/ingress.yaml")["metadata"]["annotations"]
    sizes = [
        ingress["nginx.ingress.kubernetes.io/proxy-body-size"],
        *re.findall(r"max_size (\d+)MB", text("caddy/Caddyfile")),
    ]
    assert len(sizes) == 2
    assert all(int(size.rstrip("m")) * 10**6 > MAX_BODY_BYTES for size in sizes)


def test_every_template_waits_until_the_server_has_stopped():
    key = r"(?:terminationGracePeriodSeconds: |StopTimeout: |stop_grace_period: |TimeoutStopSec=)(\d+)"
    files = ["kubernetes/base/deployment.yaml", "azure/container-app.yaml", "aws/fargate.yaml", "compose/compose.yaml"]
    waits = {name: re.findall(key, text(name)) for name in (*files, "systemd/fashion.service")}
    sleep = load(files[0])["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert waits == {name: [waited] for name, (waited,) in waits.items() if int(waited) > KILL_SECONDS + sleep}


@pytest.mark.process
def test_the_compose_file_satisfies_its_schema():
    schema = ["--builtin-schema", "vendor.compose-spec"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, DEPLOY / "compose" / "compose.yaml"]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout


def test_the_docs_name_templates_that_exist_and_the_parameters_they_need():
    pages = {path.name: path.read_text() for path in (PROJECT / "docs").glob("*.md")}
    named = {name.rstrip(".") for page in pages.values() for name in re.findall(r"(?<![\w/])deploy/([\w./-]+)", page)}
    assert {name for name in named if not (DEPLOY / name).exists()} == set()
    assert {path.name for path in DEPLOY.iterdir() if path.is_dir()} <= {name.partition("/")[0] for name in named}
    for name in ("aws/fargate.yaml", "aws/sagemaker.yaml"):
        (block,) = re.findall(rf"--template-file deploy/{name}(.*?)\n(?:\$|```)", pages["cloud.md"], re.DOTALL)
        parameters = re.search(r"^Parameters:\n(.*?)^\w", text(name), re.M | re.S)[1]
        needed = re.findall(r"^  (\w+):\n(?:    (?!Default).*\n)+(?=  \w|\n)", parameters, re.MULTILINE)
        assert re.findall(r"(\w+)=", block) == needed


def test_fargate_mounts_the_volume_of_the_image_alone():
    """Any other mount would belong to root, and the server could not write to it."""
    mounted = re.findall(r"ContainerPath: (\S+),", text("aws/fargate.yaml"))
    assert mounted == re.findall(r"^VOLUME (.*)$", text("Dockerfile"), re.MULTILINE) == ["/data"]
    assert "{Name: TMPDIR, Value: /data}" in text("aws/fargate.yaml")


def test_sagemaker_is_reached_by_the_platform_alone():
    model = re.search(r"^  Model:\n(.*?)\n\n", text("aws/sagemaker.yaml"), re.M | re.S)[1]
    assert "EnableNetworkIsolation: true" in model
    assert "FASHION_PLATFORM: sagemaker" in model


def pod_of(resource: dict, template: dict, beyond: set[str]) -> dict:
    """Wrap what such a resource shares with a pod in a Deployment, without its own fields."""
    spec = {key: value for key, value in template.items() if key not in beyond}
    labels = {"app": "fashion"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": resource["metadata"],
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def test_the_container_of_cloud_run_is_one_of_kubernetes():
    service = load("cloud-run/service.yaml")
    template = service["spec"]["template"]["spec"]
    kubernetes_validate.validate(
        pod_of(service, template, {"containerConcurrency", "timeoutSeconds"}), "1.37", strict=True
    )
    settings = load_settings()
    assert template["containerConcurrency"] == settings["threads"] + settings["queue"]
    (container,) = template["containers"]
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    files = [entry["value"] for entry in container["env"] if entry["name"].endswith("_FILE")]
    volumes = {volume["name"]: volume["secret"]["items"][0]["path"] for volume in template["volumes"]}
    assert sorted(files) == sorted(f"{paths[name]}/{file}" for name, file in volumes.items())


def load_settings() -> dict:
    return yaml.safe_load((PROJECT / "configs" / "server" / "default.yaml").read_text())


def test_the_predictor_of_kserve_is_a_pod_without_privileges():
    service = load("kserve/inference-service.yaml")
    predictor = service["spec"]["predictor"]
    beyond = {"minReplicas", "maxReplicas", "containerConcurrency"}
    kubernetes_validate.validate(pod_of(service, predictor, beyond), "1.37", strict=True)
    (container,) = predictor["containers"]
    hardened = load("kubernetes/base/deployment.yaml")["spec"]["template"]["spec"]
    assert container["name"] == "kserve-container"  # by which KServe finds it
    assert container["securityContext"] == hardened["containers"][0]["securityContext"]
    assert predictor["securityContext"].items() <= hardened["securityContext"].items()
    assert predictor["maxReplicas"] == 1  # its accounts are in a file of its own


def differences(given: object, understood: object, place: str = "") -> Iterator[str]:
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(understood, dict) or key not in understood:
                yield f"{place}.{key}: unknown"
            else:
                yield from differences(value, understood[key], f"{place}.{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from differences(value, understood[index], f"{place}.{index}")
    elif given != understood:
        yield f"{place}: {given!r} became {understood!r}"


def test_azure_understands_every_field():
    """Its client library parses the template as the service does; a field that it does not know is lost."""
    app = load("azure/container-app.yaml")

    def understood() -> dict:
        return ContainerApp.deserialize(app).serialize(keep_readonly=True)

    assert list(differences(app, understood())) == []
    configured = app["properties"]["configuration"]
    (container,) = app["properties"]["template"]["containers"]
    files = [entry["value"] for entry in container["env"] if entry["name"].endswith("_FILE")]
    (mount,) = container["volumeMounts"]
    assert sorted(files) == sorted(f"{mount['mountPath']}/{secret['name']}" for secret in configured["secrets"])
    assert all("value" not in secret for secret in configured["secrets"])
    assert configured["ingress"]["allowInsecure"] is False
    configured["ingress"]["targetPorts"] = 8080
    assert list(differences(app, understood())) == [".properties.configuration.ingress.targetPorts: unknown"]
