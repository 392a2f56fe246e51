"""The local cluster is a real one: pods run, rights hold, and what pods reach is what they should."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, config

PROJECT = Path(__file__).parents[2]
sys.path.append(str(PROJECT / "include/local"))

import serving  # noqa: E402
from cgroups import hierarchies  # noqa: E402
from env import read_env  # noqa: E402
from kubectl import kubectl  # noqa: E402
from settings import GCS_PORT, Settings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    "capabilities": {"drop": ["ALL"]},
}


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(PROJECT)


@pytest.fixture(scope="module")
def namespace(settings: Settings) -> Iterator[str]:
    """A serving namespace of this run's own."""
    name = f"test-local-{uuid.uuid4().hex[:6]}"
    serving.serving_namespace(settings, name)
    yield name
    serving.delete_namespace(settings, name)


def pod(settings: Settings, program: str, **container: Any) -> dict[str, Any]:
    """Build a pod that runs a Python program from the modelsync image, with the claim and the bucket's Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{uuid.uuid4().hex[:6]}"},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "modelsync",
            "containers": [
                {
                    "name": "base",
                    "image": read_env(settings)["MODELSYNC_IMAGE"],
                    "command": ["python", "-c", program],
                    "envFrom": [{"secretRef": {"name": serving.BUCKET_SECRET}}],
                    "securityContext": RESTRICTED,
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                }
                | container
            ],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": serving.CLAIM}}],
        },
    }


def run(settings: Settings, namespace: str, body: dict[str, Any]) -> tuple[str, str]:
    """Run a pod to its end; return its phase and what it said."""
    name, where = body["metadata"]["name"], f"--namespace={namespace}"
    kubectl(settings, "create", where, "--filename=-", stdin=json.dumps(body))
    deadline = time.monotonic() + 60
    while True:
        phase = kubectl(settings, "get", "pod", name, where, "--output=jsonpath={.status.phase}").stdout
        if phase in ("Succeeded", "Failed"):
            said = kubectl(settings, "logs", name, where).stdout
            kubectl(settings, "delete", "pod", name, where, "--wait=false")
            return phase, said.strip()
        assert time.monotonic() < deadline, kubectl(settings, "describe", "pod", name, where).stdout
        time.sleep(0.3)


def test_pod_writes_to_the_claim_without_any_privilege(settings: Settings, namespace: str) -> None:
    program = "import os, pathlib; pathlib.Path('/models/hello').write_text('x'); print(os.getuid())"
    assert run(settings, namespace, pod(settings, program)) == ("Succeeded", "10001")
    assert (settings.state / "volumes" / serving.volume_name(namespace) / "hello").read_text() == "x"


def test_root_file_system_of_a_pod_is_read_only(settings: Settings, namespace: str) -> None:
    phase, said = run(settings, namespace, pod(settings, "open('/opt/x', 'w')"))
    assert phase == "Failed"
    assert "Read-only file system" in said


def test_modelsync_image_starts_the_pod_program(settings: Settings, namespace: str) -> None:
    body = pod(settings, "")
    del body["spec"]["containers"][0]["command"]
    body["spec"]["containers"][0]["args"] = ["--help"]
    phase, said = run(settings, namespace, body)
    assert (phase, "sync" in said) == ("Succeeded", True), said


def test_pods_have_no_token_for_the_api_server(settings: Settings, namespace: str) -> None:
    program = "import os; print(os.path.exists('/var/run/secrets/kubernetes.io'))"
    assert run(settings, namespace, pod(settings, program)) == ("Succeeded", "False")


CONNECT = """
import socket, sys
for port in sys.argv[1].split(","):
    try:
        socket.create_connection((sys.argv[2], int(port)), 3).close()
        print(port, "open")
    except OSError as error:
        print(port, type(error).__name__)
"""


def test_pods_reach_the_servers_meant_for_them_and_no_others(settings: Settings, namespace: str) -> None:
    doors = {
        settings.weed_ports.s3: "open",
        GCS_PORT: "open",
        6443: "open",
        settings.weed_ports.s3 + 10_000: "ConnectionRefusedError",
        10250: "ConnectionRefusedError",
    }
    body = pod(settings, CONNECT, command=["python", "-c", CONNECT, ",".join(map(str, doors)), settings.there])
    _, said = run(settings, namespace, body)
    assert said.splitlines() == [f"{port} {state}" for port, state in doors.items()]


def test_pods_reach_what_listens_at_this_machines_end_of_the_link(settings: Settings, namespace: str) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", settings.here, "8765"], stderr=subprocess.DEVNULL
    )
    try:
        body = pod(settings, CONNECT, command=["python", "-c", CONNECT, "8765", settings.here])
        assert run(settings, namespace, body) == ("Succeeded", "8765 open")
    finally:
        server.kill()
        server.wait()


LOOK_UP = """
import socket, time
began = time.monotonic()
try:
    socket.getaddrinfo("bucket.example", 443)
except socket.gaierror:
    print(time.monotonic() - began < 2)
"""


def test_names_are_refused_at_once_and_not_after_a_time_out(settings: Settings, namespace: str) -> None:
    assert run(settings, namespace, pod(settings, LOOK_UP)) == ("Succeeded", "True")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"securityContext": {**RESTRICTED, "runAsNonRoot": False, "runAsUser": 0}}, "runAsNonRoot"),
        ({"securityContext": {**RESTRICTED, "allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation"),
        ({"securityContext": {**RESTRICTED, "seccompProfile": {"type": "Unconfined"}}}, "seccompProfile"),
        ({"securityContext": {**RESTRICTED, "capabilities": {}}}, "capabilities"),
        ({"ports": [{"containerPort": 80, "hostPort": 80}]}, "hostPort"),
    ],
)
def test_pods_that_ask_for_privilege_are_refused(
    settings: Settings, namespace: str, change: dict[str, Any], complaint: str
) -> None:
    body = json.dumps(pod(settings, "pass", **change))
    done = kubectl(settings, "create", f"--namespace={namespace}", "--filename=-", stdin=body, check=False)
    assert done.returncode
    assert 'violates PodSecurity "restricted' in done.stderr
    assert complaint in done.stderr


ALLOWED = [
    *(("pods", verb) for verb in ("create", "get", "list", "watch", "delete")),
    ("pods/log", "get"),
    *(("events", verb) for verb in ("get", "list", "watch")),
    *((kind, verb) for kind in ("deployments.apps", "statefulsets.apps") for verb in ("get", "list", "watch", "patch")),
    *((kind, verb) for kind in ("replicasets.apps", "controllerrevisions.apps") for verb in ("get", "list")),
    *(("persistentvolumeclaims", verb) for verb in ("get", "list")),
    ("resourcequotas", "list"),
    ("limitranges", "list"),
    *(("pods/proxy", verb) for verb in ("get", "create")),
    ("secrets", "create"),  # what such a Secret may be, the admission policy says: test_rights.py
]
REFUSED = [
    *(("secrets", verb) for verb in ("get", "list", "update", "patch", "delete")),
    *(("services/proxy", verb) for verb in ("get", "create")),
    ("pods/exec", "create"),
    ("deployments.apps", "create"),
    ("deployments.apps", "delete"),
    ("deployments.apps", "update"),
    ("persistentvolumeclaims", "delete"),
    ("roles.rbac.authorization.k8s.io", "create"),
    ("rolebindings.rbac.authorization.k8s.io", "create"),
    ("serviceaccounts/token", "create"),
]


@pytest.fixture(scope="module")
def reviews(settings: Settings) -> client.AuthorizationV1Api:
    return client.AuthorizationV1Api(config.new_client_from_config(str(settings.kubeconfig)))


def can(reviews: client.AuthorizationV1Api, verb: str, kind: str, namespace: str) -> bool:
    """Ask whether Airflow's service account may do something to ``pods``, ``pods/log`` or ``roles.group``."""
    resource, _, sub = kind.partition("/")
    resource, _, group = resource.partition(".")
    attributes = {"verb": verb, "resource": resource, "subresource": sub, "group": group, "namespace": namespace}
    review = {"spec": {"user": f"system:serviceaccount:{serving.SYSTEM}:airflow", "resourceAttributes": attributes}}
    return bool(reviews.create_subject_access_review(review).status.allowed)


@pytest.mark.parametrize(("kind", "verb"), ALLOWED)
def test_airflow_may_do_what_releases_need(reviews: Any, namespace: str, kind: str, verb: str) -> None:
    assert can(reviews, verb, kind, namespace)


@pytest.mark.parametrize(("kind", "verb"), REFUSED)
def test_airflow_may_not_do_more(reviews: Any, namespace: str, kind: str, verb: str) -> None:
    assert not can(reviews, verb, kind, namespace)


@pytest.mark.parametrize(("kind", "verb"), ALLOWED)
def test_airflow_has_no_rights_elsewhere(reviews: Any, kind: str, verb: str) -> None:
    for elsewhere in ("default", "kube-system", serving.SYSTEM):
        assert not can(reviews, verb, kind, elsewhere)


def test_airflows_kubeconfig_is_its_service_account(settings: Settings, namespace: str) -> None:
    config = f"--kubeconfig={settings.airflow_kubeconfig}"
    program = read_env(settings)["KUBECTL"]
    whoami = subprocess.run(
        [program, config, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert whoami.stdout == f"system:serviceaccount:{serving.SYSTEM}:airflow"
    secret = ["get", "secret", serving.BUCKET_SECRET, f"--namespace={namespace}"]
    refused = subprocess.run([program, config, *secret], capture_output=True, text=True, check=False)
    assert "Forbidden" in refused.stderr


def test_server_runs_and_waits_for_its_first_release(settings: Settings, namespace: str) -> None:
    serving.serve(settings, namespace)
    where = f"--namespace={namespace}"
    deadline = time.monotonic() + 60
    while "Not ready: MODEL_PATH is '/models/none'" not in logs(settings, where):
        assert time.monotonic() < deadline, kubectl(settings, "describe", "pods", where).stdout
        time.sleep(0.5)
    ready = kubectl(
        settings, "get", "deployment", "embedder", where, "--output=jsonpath={.status.readyReplicas}"
    ).stdout
    assert not ready


def logs(settings: Settings, where: str) -> str:
    return kubectl(settings, "logs", "deployment/embedder", where, check=False).stdout


def test_an_existing_deployment_is_left_as_it_is(settings: Settings, namespace: str) -> None:
    serving.serve(settings, namespace)
    patch = '[{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "/models/released"}]'
    where = f"--namespace={namespace}"
    kubectl(settings, "patch", "deployment", "embedder", where, "--type=json", f"--patch={patch}")
    serving.serve(settings, namespace)
    template = "--output=jsonpath={.spec.template.spec.containers[0].env[0].value}"
    assert kubectl(settings, "get", "deployment", "embedder", where, template).stdout == "/models/released"


def test_pods_are_in_the_clusters_own_cgroup_of_every_hierarchy(settings: Settings, namespace: str) -> None:
    serving.serve(settings, namespace)
    found = [mount / settings.cgroup.lstrip("/") for mount, _ in hierarchies(Path("/proc/self/mountinfo").read_text())]
    assert found
    assert all((group / "kubepods").exists() for group in found)
