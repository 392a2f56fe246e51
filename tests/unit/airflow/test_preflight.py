"""What is said about a cluster before a byte is moved: every problem a row."""

import copy
import json
from types import SimpleNamespace

import pytest

from modelberth.catalog import load
from modelberth.core.confirm import Answer
from modelberth.kubernetes import preflight
from modelberth.kubernetes.client import ClusterRefusedError, ForbiddenError, ObjectMissingError

CLAIM = {"metadata": {"name": "models"}, "status": {"phase": "Bound"}}
WORKLOAD = {
    "metadata": {"name": "embedder"},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "env": [{"name": "MODEL_PATH", "value": "/models/minilm/x"}],
                        "volumeMounts": [{"name": "claim", "mountPath": "/models"}],
                    },
                    {"name": "proxy"},
                ],
                "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}],
            }
        }
    },
}
POD = WORKLOAD["spec"]["template"]["spec"]


class FakeCluster:
    """Answers as the API server would; ``denied`` are rights that the account does not have."""

    def __init__(self, claim=CLAIM, workload=WORKLOAD, denied=()):
        self.objects = {"persistentvolumeclaims/models": claim, "deployments/embedder": workload}
        self.denied = denied
        self.full = False

    def get(self, path):
        found = self.objects["/".join(path.rsplit("/", 2)[1:])]
        if isinstance(found, Exception):
            raise found
        return found

    def create(self, path, pod):
        """Refuse every pod but those without a Secret that is not allowed."""
        named = [one["secretRef"]["name"] for one in pod["spec"]["containers"][0].get("envFrom", ())]
        if self.full or set(named) - {"allowed"}:
            raise ForbiddenError(f"POST {path}: no.")
        return pod

    def ask(self, path, body):
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        allowed = f"{asked['verb']} {resource}" not in self.denied
        return Answer(200, json.dumps({"status": {"allowed": allowed}}).encode())


@pytest.fixture
def service(catalog):
    """The service embedder."""
    return load().service("embedder")


def changed(document, *path_and_value):
    """Return *document* with another value at the path."""
    document = copy.deepcopy(document)
    *path, last, value = path_and_value
    part = document
    for step in path:
        part = part[step]
    part[last] = value
    return document


IN_POD = ("spec", "template", "spec")
SERVER = (*IN_POD, "containers", 0)


def test_a_cluster_where_all_is_well_has_no_problems(service):
    assert preflight.problems(FakeCluster(), service) == []


@pytest.mark.parametrize("phase", ["Bound", "Pending"])
def test_a_claim_that_waits_for_its_first_pod_is_well(service, phase):
    assert preflight.claim_problems(changed(CLAIM, "status", {"phase": phase}), service) == []


def test_a_variable_that_is_not_set_yet_is_well(service):
    assert preflight.workload_problems(changed(WORKLOAD, *SERVER, "env", None), service, service.workload) == []


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (None, "Claim serving/models does not exist: create it, or correct 'claim' in services/embedder.yaml."),
        (changed(CLAIM, "status", {"phase": "Lost"}), "Claim serving/models has lost its volume"),
        (changed(CLAIM, "metadata", {"deletionTimestamp": "x"}), "Claim serving/models is being deleted"),
    ],
)
def test_a_claim_that_cannot_be_staged_on_is_said(service, claim, said):
    (problem,) = preflight.claim_problems(claim, service)
    assert said in problem


MOUNT = {"name": "claim", "mountPath": "/models"}
METADATA = {"name": "embedder"}


def from_elsewhere(**source):
    return changed(WORKLOAD, *SERVER, "env", [{"name": "MODEL_PATH", "valueFrom": source}])


@pytest.mark.parametrize(
    "mounts",
    [
        [MOUNT, {"name": "tmp", "mountPath": "/tmp"}],
        [{"name": "tmp", "mountPath": "/"}, MOUNT],
        [MOUNT | {"subPath": "old", "mountPath": "/old"}, MOUNT],
        [MOUNT | {"mountPath": "/models/"}],
    ],
)
def test_a_claim_that_is_mounted_where_a_model_can_be_found_is_well(service, mounts):
    workload = changed(WORKLOAD, *SERVER, "volumeMounts", mounts)
    assert preflight.workload_problems(workload, service, service.workload) == []


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        (None, "Deployment serving/embedder does not exist: apply it, or correct 'workload'"),
        (changed(WORKLOAD, "spec", "paused", True), "Deployment serving/embedder: it is paused"),
        (changed(WORKLOAD, *SERVER, "name", "web"), "it has no container 'server'; there are: web, proxy."),
        (from_elsewhere(configMapKeyRef={"name": "paths", "key": "minilm"}), "key 'minilm' of ConfigMap 'paths': give"),
        (from_elsewhere(secretKeyRef={"name": "paths", "key": "minilm"}), "key 'minilm' of Secret 'paths': give it a"),
        (
            from_elsewhere(fieldRef={"fieldPath": "metadata.name"}),
            "variable MODEL_PATH of container 'server' comes from a field of the pod: give it a plain value, or none.",
        ),
        (
            changed(WORKLOAD, *SERVER, "env", [{"name": "MODEL_PATH", "value": "/opt/model"}]),
            "variable MODEL_PATH of container 'server' is '/opt/model', which is not below '/models', where claim",
        ),
        (
            changed(WORKLOAD, *SERVER, "volumeMounts", [MOUNT, {"name": "tmp", "mountPath": "/models/minilm"}]),
            "container 'server' has something at '/models/minilm' that hides claim 'models': mount it elsewhere.",
        ),
        (
            changed(WORKLOAD, "metadata", METADATA | {"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
            "variable MODEL_PATH of container 'server' is kept by Helm, which would set it back: take the variable out",
        ),
        (changed(WORKLOAD, *SERVER, "volumeMounts", None), "container 'server' does not mount claim 'models'"),
        (changed(WORKLOAD, *IN_POD, "volumes", []), "container 'server' does not mount claim 'models'"),
        (
            changed(WORKLOAD, *IN_POD, "volumes", 0, "persistentVolumeClaim", "claimName", "other"),
            "container 'server' does not mount claim 'models'",
        ),
        (
            changed(WORKLOAD, *IN_POD, "volumes", 0, "persistentVolumeClaim", "readOnly", False),
            "its volume of claim 'models' is writable: set persistentVolumeClaim.readOnly: true.",
        ),
        (
            changed(
                WORKLOAD, *SERVER, "volumeMounts", [{"name": "claim", "mountPath": "/models", "subPath": "minilm"}]
            ),
            "container 'server' mounts 'minilm' of claim 'models': mount it without a subPath.",
        ),
    ],
)
def test_a_workload_that_cannot_be_pointed_elsewhere_is_said(service, workload, said):
    (problem,) = preflight.workload_problems(workload, service, service.workload)
    assert said in problem


@pytest.mark.parametrize(
    "denied", ["create pods", "get pods/log", "create pods/proxy", "patch deployments", "get statefulsets"]
)
def test_a_missing_right_is_named(service, denied):
    (problem,) = preflight.problems(FakeCluster(denied=[denied]), service)
    assert problem.startswith(f"Connection 'modelberth_kubernetes' may not {denied} in namespace 'serving'")


def test_all_missing_rights_are_one_problem(service):
    (problem,) = preflight.problems(FakeCluster(denied=["create pods", "delete pods"]), service)
    assert "may not create pods, delete pods in" in problem


def test_an_account_that_may_not_even_look_is_said_in_the_servers_words(service):
    cluster = FakeCluster(claim=ClusterRefusedError("Refused: 403 Forbidden."))
    assert "Refused: 403 Forbidden." in preflight.problems(cluster, service)[0]


def test_all_problems_are_said_at_once(service):
    paused = changed(WORKLOAD, "spec", "paused", True)
    cluster = FakeCluster(claim=ObjectMissingError("Not found"), workload=paused, denied=["create pods"])
    assert len(preflight.problems(cluster, service)) == 3


@pytest.mark.parametrize(("full", "refused"), [(False, ["raw-reader", "probe-key"]), (True, [])])
def test_a_secret_that_only_keeps_a_pod_from_being_made_is_named(service, full, refused):
    cluster = FakeCluster()
    cluster.full = full
    found = preflight.secret_problems(cluster, service, ["raw-reader", "allowed", "probe-key"])
    assert [one.split()[1] for one in found] == [f"serving/{name}" for name in refused]
    assert all("no." in one and "'secrets' of ConfigMap serving/modelberth-rights" in one for one in found)


def test_a_pod_is_only_asked_about_and_never_made(service):
    asked = []
    cluster = SimpleNamespace(create=lambda path, pod: asked.append(path))
    assert preflight.secret_problems(cluster, service, ["raw-reader"]) == []
    assert asked == ["/api/v1/namespaces/serving/pods?dryRun=All"]
    assert preflight.secret_problems(cluster, service, []) == []
    assert len(asked) == 1
