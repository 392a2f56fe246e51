"""What Airflow's account may do and may not, asked of the real API server with Airflow's own token.

Every request is a dry run (``dryRun=All``): the API server authorises it and admits it, and keeps nothing of it.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import serving
import yaml
from rights import (
    ADMIN,
    AIRFLOW,
    APPS,
    BOTH,
    CANARY,
    CHANGES,
    CORE,
    DATABASE,
    FOREIGN,
    MAY_CREATE,
    MAY_NOT_CREATE,
    MAY_NOT_PATCH,
    MAY_PATCH,
    ONLY,
    ORDERED,
    QUERIES,
    RBAC,
    RIGHTS,
    SERVED,
    WORKLOADS,
    Asking,
    pod,
    two_containers,
    workloads,
)
from settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def admin() -> Asking:
    return Asking(os.environ["KUBECONFIG"])


@pytest.fixture(scope="module")
def airflow() -> Asking:
    return Asking(os.environ["AIRFLOW_KUBECONFIG"])


@pytest.fixture(scope="module")
def namespace(admin: Asking, airflow: Asking) -> Iterator[str]:
    """A serving namespace with workloads of no pods: three that Airflow may change, two that are not its business."""
    settings, name = Settings(PROJECT), f"rights-{uuid.uuid4().hex[:6]}"
    serving.serving_namespace(settings, name)
    try:
        for kind, one in WORKLOADS:
            status, said = admin("POST", workloads(name, kind), two_containers(one, kind), "")
            assert status == 201, said
        rights = f"{CORE}/namespaces/{name}/configmaps/modelberth-rights"
        assert admin("PATCH", rights, {"data": RIGHTS}, "", "application/merge-patch+json")[0] == 200
        wait_until(lambda: airflow("POST", f"{CORE}/namespaces/{name}/pods", pod(image="modelsync:2"))[0] == 201)
        yield name
    finally:
        serving.delete_namespace(settings, name)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.1)


# --- workloads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), BOTH)
@pytest.mark.parametrize("what", MAY_PATCH)
def test_a_rollout_may_change(admin, airflow, namespace, kind, name, what):
    status, said = airflow.patch(f"{workloads(namespace, kind)}/{name}", MAY_PATCH[what])
    assert status == 200, said


@pytest.mark.parametrize(("kind", "name"), BOTH)
@pytest.mark.parametrize("what", MAY_NOT_PATCH)
def test_nobody_with_airflows_token_may_change(admin, airflow, namespace, kind, name, what):
    path = f"{workloads(namespace, kind)}/{name}"
    assert admin.patch(path, MAY_NOT_PATCH[what])[0] == 200, "a patch that nobody can make shows nothing"
    assert_refused_by("modelberth-workloads", airflow.patch(path, MAY_NOT_PATCH[what]))


@pytest.mark.parametrize(("kind", "what"), ONLY)
def test_nobody_with_airflows_token_may_change_how_pods_are_replaced(admin, airflow, namespace, kind, what):
    path = f"{workloads(namespace, kind)}/{dict(BOTH)[kind]}"
    assert admin.patch(path, ONLY[kind, what])[0] == 200
    assert_refused_by("modelberth-workloads", airflow.patch(path, ONLY[kind, what]))


def test_only_the_partition_of_a_named_canary_may_move(airflow, namespace):
    path = f"{workloads(namespace, 'StatefulSet')}/{CANARY}"
    assert airflow.patch(path, ONLY["StatefulSet", "its partition"])[0] == 200
    assert_refused_by("modelberth-workloads", airflow.patch(path, ONLY["StatefulSet", "its strategy"]))


@pytest.mark.parametrize("patch", [MAY_PATCH["the variable"], MAY_PATCH["our annotation away"]])
def test_a_workload_that_is_not_named_may_not_be_changed_at_all(airflow, namespace, patch):
    said = assert_refused_by(
        "modelberth-workloads", airflow.patch(f"{workloads(namespace, 'Deployment')}/{FOREIGN}", patch)
    )
    assert f"names no variable of Deployment {FOREIGN}" in said


def assert_refused_by(policy: str, answer: tuple[int, str]) -> str:
    status, said = answer
    assert status == 403, answer
    assert f"ValidatingAdmissionPolicy '{policy}'" in said
    return said


# --- pods -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", MAY_CREATE)
def test_airflow_may_create(airflow, namespace, what):
    status, said = airflow("POST", f"{CORE}/namespaces/{namespace}/pods", MAY_CREATE[what])
    assert status == 201, said


@pytest.mark.parametrize("what", MAY_NOT_CREATE)
def test_nobody_with_airflows_token_may_create_a_pod_with(admin, airflow, namespace, what):
    body, reason = MAY_NOT_CREATE[what]
    if reason:  # else the namespace's Pod Security refuses it, whoever asks
        assert admin("POST", f"{CORE}/namespaces/{namespace}/pods", body)[0] == 201, "a pod that nobody can make"
    status, said = airflow("POST", f"{CORE}/namespaces/{namespace}/pods", body)
    assert status in (403, 422), said
    assert reason in said
    assert any(policy in said for policy in ("modelberth-pods", "PodSecurity", "cluster policy"))


@pytest.fixture(scope="module")
def pods(admin: Asking, namespace: str) -> dict[str, str]:
    """Pods that no node ever runs, by whose they are; their names."""
    of_served = json.loads(admin("GET", f"{APPS}/namespaces/{namespace}/replicasets", query="")[1])["items"][0]
    made = {
        "our step's": ({"modelberth.dev/step": "sync"}, None),
        "a named StatefulSet's": ({"app": "x"}, f"statefulsets/{ORDERED}"),
        "a Deployment's": ({"app": "x"}, f"replicasets/{of_served['metadata']['name']}"),
        "another StatefulSet's": ({"app": "x"}, f"statefulsets/{DATABASE}"),
        "somebody's": ({"app": "x"}, None),
    }
    names = {}
    for whose, (labels, owner) in made.items():
        body = pod(labels=labels, more={"nodeSelector": {"none": "such"}})
        if owner:
            document = json.loads(admin("GET", f"{APPS}/namespaces/{namespace}/{owner}", query="")[1])
            reference = {key: document["metadata"][key] for key in ("name", "uid")}
            body["metadata"]["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": document["kind"], **reference}]
        status, said = admin("POST", f"{CORE}/namespaces/{namespace}/pods", body, "")
        assert status == 201, said
        names[whose] = body["metadata"]["name"]
    return names


@pytest.mark.parametrize(
    ("whose", "may"),
    [
        ("our step's", True),
        ("a named StatefulSet's", True),
        ("a Deployment's", False),
        ("another StatefulSet's", False),
        ("somebody's", False),
    ],
)
def test_airflow_deletes_no_pods_but_its_own_and_a_named_stateful_sets(airflow, namespace, pods, whose, may):
    answer = airflow("DELETE", f"{CORE}/namespaces/{namespace}/pods/{pods[whose]}")
    if may:
        assert answer[0] == 200, answer
    else:
        assert_refused_by("modelberth-deletion", answer)


# --- everything else ------------------------------------------------------------------------------------------------


def attempt(asking: Asking, what: str, namespace: str, name: str) -> tuple[int, str]:
    """Do one of CHANGES."""
    method, path, body = CHANGES[what]
    path, body = (
        path.replace("{}", namespace).replace("{pod}", name),
        json.loads(json.dumps(body).replace("{pod}", name)),
    )
    if method == "PATCH":
        return asking.patch(path, body)
    return asking(method, path, body, QUERIES.get(path.rpartition("/")[2], "dryRun=All"))


@pytest.mark.parametrize("what", CHANGES)
def test_airflow_may_not_change(airflow, namespace, pods, what):
    status, said = attempt(airflow, what, namespace, pods["somebody's"])
    assert status == 403, said
    assert "airflow" in said or "modelberth-" in said


def test_airflow_may_make_only_the_secret_of_a_pod_that_uploads(airflow, namespace):
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "upload-m-1", "uid": str(uuid.uuid4())}
    metadata = {"name": "upload-m-1", "ownerReferences": [owner]}
    path = f"{CORE}/namespaces/{namespace}/secrets"
    status, said = airflow("POST", path, {"metadata": metadata})
    assert status == 201, said
    token = {
        "type": "kubernetes.io/service-account-token",
        "metadata": metadata | {"annotations": {"kubernetes.io/service-account.name": "modelsync"}},
    }
    for body in (token, {"metadata": metadata | {"name": "upload-m-2"}}, {"metadata": {"name": "upload-m-1"}}):
        assert_refused_by("modelberth-secrets", airflow("POST", path, body))


@pytest.mark.parametrize(
    "path",
    [
        "/secrets",
        "/namespaces/{}/secrets",
        "/namespaces/{}/secrets/modelsync-bucket",
        f"/namespaces/{serving.SYSTEM}/secrets/airflow-token",
        "/namespaces/kube-system/secrets",
        "/namespaces/{}/serviceaccounts",
        "/namespaces/{}/services",
        "/namespaces",
    ],
)
def test_airflow_may_not_read(airflow, namespace, path):
    status, said = airflow("GET", CORE + path.replace("{}", namespace), query="limit=1")
    assert status == 403, said


@pytest.mark.parametrize(
    "path",
    [
        CORE + "/namespaces/{}/pods",
        CORE + "/namespaces/{}/events",
        CORE + "/namespaces/{}/persistentvolumeclaims/models",
        CORE + "/namespaces/{}/resourcequotas",
        APPS + "/namespaces/{}/deployments/" + SERVED,
        APPS + "/namespaces/{}/statefulsets/" + ORDERED,
        APPS + "/namespaces/{}/replicasets",
        APPS + "/namespaces/{}/controllerrevisions",
    ],
)
def test_airflow_may_read(airflow, namespace, path):
    status, said = airflow("GET", path.replace("{}", namespace), query="limit=1")
    assert status == 200, said


def test_airflow_may_ask_what_it_may(airflow, namespace):
    asked = {"namespace": namespace, "verb": "create", "resource": "pods"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    status, said = airflow("POST", path, {"spec": {"resourceAttributes": asked}}, "")
    assert status == 201, said
    assert json.loads(said)["status"]["allowed"]


# --- whatever else the account is given -----------------------------------------------------------------------------


@pytest.fixture
def elsewhere(admin: Asking, airflow: Asking) -> Iterator[str]:
    """A namespace where somebody made Airflow an admin, and that names nothing that it may do."""
    name = f"rights-{uuid.uuid4().hex[:6]}"
    labels = {serving.FOR_A_TEST: "true"}
    assert admin("POST", f"{CORE}/namespaces", {"metadata": {"name": name, "labels": labels}}, "")[0] == 201
    try:
        binding = {"metadata": {"name": "a"}, "roleRef": ADMIN, "subjects": [AIRFLOW]}
        assert admin("POST", f"{RBAC}/namespaces/{name}/rolebindings", binding, "")[0] == 201
        wait_until(lambda: airflow("GET", f"{CORE}/namespaces/{name}/secrets", query="limit=1")[0] == 200)
        assert admin("POST", workloads(name, "Deployment"), two_containers(SERVED, "Deployment"), "")[0] == 201
        assert (
            admin("POST", f"{CORE}/namespaces/{name}/serviceaccounts", {"metadata": {"name": "modelsync"}}, "")[0]
            == 201
        )
        yield name
    finally:
        admin("DELETE", f"{CORE}/namespaces/{name}", query="")


def test_a_namespace_that_names_nothing_allows_nothing_even_to_an_admin(airflow, elsewhere):
    path = f"{CORE}/namespaces/{elsewhere}"
    for answer in (
        airflow("POST", f"{path}/pods", pod()),
        airflow.patch(f"{workloads(elsewhere, 'Deployment')}/{SERVED}", MAY_PATCH["the variable"]),
    ):
        assert answer[0] in (403, 422), answer
        assert "no params found" in answer[1]


@pytest.mark.parametrize(
    "what",
    ["a Job", "a Deployment", "a service account", "a token", "more rights", "a workload's scale", "a Deployment away"],
)
def test_an_admins_role_gives_airflow_nothing_more(airflow, elsewhere, what):
    assert_refused_by("modelberth-else", attempt(airflow, what, elsewhere, "p"))


# --- the files ------------------------------------------------------------------------------------------------------


def test_what_is_named_for_the_demo_is_what_its_service_says():
    rights = yaml.safe_load((PROJECT / "include/kubernetes/rights.yaml").read_text())["data"]
    service = yaml.safe_load((PROJECT / "include/services/embedder.yaml").read_text())
    pods, one = service["pods"], service["workload"]
    assert (rights["images"], rights["serviceAccounts"]) == (pods["image"], pods["service_account"])
    assert (rights["claims"], rights["secrets"]) == (service["claim"], pods["bucket_secret"])
    assert rights["variables"].split() == [
        f"{one['kind']}/{one['name']}/{binding['container']}/{binding['variable']}" for binding in service["bindings"]
    ]


def test_the_policies_are_well_typed_and_about_one_user(admin):
    for name in ("pods", "secrets", "deletion", "workloads", "else"):
        path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/modelberth-{name}"
        policy = json.loads(admin("GET", path, query="")[1])
        assert policy["status"].get("typeChecking", {}).get("expressionWarnings") is None
        [condition] = policy["spec"]["matchConditions"]
        assert 'system:serviceaccount:modelberth-system:airflow"' in condition["expression"]
