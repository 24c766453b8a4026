"""The manifests: Kubernetes knows every field, and they are as safe as they say."""

import functools
import re
import subprocess

import kubernetes_validate
import pytest
import support
import yaml
from support import OPS

FOLDER = OPS / "kubernetes"
# The oldest version that its makers still mend.
KUBERNETES = "1.33"


@functools.cache
def objects(folder="monitoring"):
    """All objects by kind and name, as kustomize makes them."""
    done = subprocess.run(["kubectl", "kustomize", FOLDER / folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load_all(done.stdout)
    return {(made["kind"], made["metadata"]["name"]): made for made in made}


def pod():
    return objects()["Deployment", "fanfare"]["spec"]["template"]["spec"]


def hub():
    (container,) = pod()["containers"]
    return container


def variables():
    return {variable["name"]: variable["value"] for variable in hub()["env"]}


def test_the_hub_alone_is_what_monitoring_adds_to():
    assert set(objects()) - set(objects("hub")) == {("ServiceMonitor", "fanfare")}


def test_kubernetes_knows_every_field():
    for (kind, _), made in objects().items():
        # What the Prometheus operator defines is not Kubernetes' own.
        if kind != "ServiceMonitor":
            kubernetes_validate.validate(made, KUBERNETES, strict=True)
    deployment = objects()["Deployment", "fanfare"]
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_the_rules_become_a_resource_as_said(tmp_path):
    """The command in the comment, up to where it is applied."""
    text = (FOLDER / "monitoring/kustomization.yaml").read_text()
    lines = re.findall(r"^#   (.*)$", text, re.MULTILINE)
    command = "\n".join(lines).split("| kubectl")[0]
    made = subprocess.run(
        ["bash", "-c", command], cwd=OPS.parent, check=True, capture_output=True, text=True
    )
    made = yaml.safe_load(made.stdout)
    assert made["kind"] == "PrometheusRule"
    assert made["spec"] == support.yaml_of(support.RULES)


def test_the_settings_are_fine():
    env = {**variables(), "PATH": ""}
    subprocess.run([support.BIN, "check"], check=True, env=env, stdout=subprocess.DEVNULL)
    # It takes what is said here to open a hub.
    for name in ["FANFARE_ALLOWED_HOSTS", "FANFARE_INSECURE_OPEN", "FANFARE_INSECURE_OPEN_ADMIN"]:
        less = {key: value for key, value in env.items() if key != name}
        done = subprocess.run([support.BIN, "check"], env=less, capture_output=True)
        assert done.returncode == 64, name


def test_the_grace_is_longer_than_the_drain():
    drain = sum(
        int(variables()[f"FANFARE_DRAIN_{part}"].removesuffix("s")) for part in ["DELAY", "PERIOD"]
    )
    assert pod()["terminationGracePeriodSeconds"] >= drain + 10


def test_the_probes_ask_what_the_hub_answers():
    ports = {port["name"]: port["containerPort"] for port in hub()["ports"]}
    assert ports == {
        "http": int(variables()["FANFARE_LISTEN"].split(":")[1]),
        "admin": int(variables()["FANFARE_ADMIN_LISTEN"].split(":")[1]),
    }
    with support.Hub() as running:
        for probe, path in {
            "startup": "/livez",
            "liveness": "/livez",
            "readiness": "/readyz",
        }.items():
            asked = hub()[f"{probe}Probe"]["httpGet"]
            assert asked == {"path": path, "port": "admin"}
            assert support.get(running.admin + asked["path"])[0] == 200
    # Endpoints go while the delay lasts.
    readiness = hub()["readinessProbe"]
    noticed_s = readiness["periodSeconds"] * readiness["failureThreshold"]
    assert noticed_s < int(variables()["FANFARE_DRAIN_DELAY"].removesuffix("s"))


def test_there_is_one_hub_at_a_time():
    spec = objects()["Deployment", "fanfare"]["spec"]
    assert spec["replicas"] == 1 and spec["strategy"] == {"type": "Recreate"}


def test_it_may_do_nothing():
    assert pod()["securityContext"]["runAsNonRoot"]
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False
    assert hub()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    user = re.search(r"^USER (\d+):(\d+)$", (OPS / "docker/Dockerfile").read_text(), re.MULTILINE)
    context = pod()["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user[1]), int(user[2]))


def test_memory_is_asked_for_in_full():
    resources = hub()["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert "cpu" not in resources["limits"]
    assert "FANFARE_MEMORY_MAX" not in variables(), "the default is half of the limit"


def test_everything_finds_the_pod():
    label = {"app.kubernetes.io/name": "fanfare"}
    deployment = objects()["Deployment", "fanfare"]["spec"]
    assert deployment["template"]["metadata"]["labels"] == label
    assert deployment["selector"]["matchLabels"] == label
    for service in ["fanfare", "fanfare-admin"]:
        assert objects()["Service", service]["spec"]["selector"] == label
    assert objects()["PodDisruptionBudget", "fanfare"]["spec"]["selector"]["matchLabels"] == label
    assert objects()["NetworkPolicy", "fanfare"]["spec"]["podSelector"]["matchLabels"] == label
    monitor = objects()["ServiceMonitor", "fanfare"]["spec"]
    admin = objects()["Service", "fanfare-admin"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= admin.items()
    # The rules look at this job.
    assert admin[monitor["jobLabel"]] == "fanfare"
