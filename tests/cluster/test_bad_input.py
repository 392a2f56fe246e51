"""What cannot be rolled out is said before anybody is asked: every row on real objects, with Airflow's own rights."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowFailException
from kubernetes import client
from test_rollout_gate import Run, catalog  # noqa: F401 - a fixture

from modelberth.catalog import load
from modelberth.kubernetes import preflight
from modelberth.kubernetes.client import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollouts import Stand

SERVER = ("spec", "template", "spec", "containers", 0)


@pytest.fixture
def one(stand, request, catalog, monkeypatch):  # noqa: F811
    """Return a staged release to a Deployment without pods."""
    name = f"b-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:6]}"
    stand.deploy(name, path="/models/none")
    catalog(name)
    yield Run(stand, name, 1, monkeypatch).staged(1)
    try:
        stand.apps.delete_namespaced_deployment(name, stand.namespace)
    except client.ApiException as error:
        if error.status != 404:
            raise


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets the last of *path* at the others."""
    *steps, last, value = path

    def change(document: dict[str, Any]) -> None:
        for step in steps:
            document = document[step]
        document[last] = value

    return change


def env(**source: Any) -> Callable[[dict[str, Any]], None]:
    return put(*SERVER, "env", [{"name": "MODEL_PATH", "valueFrom": source}])


def path(value: str) -> Callable[[dict[str, Any]], None]:
    return put(*SERVER, "env", [{"name": "MODEL_PATH", "value": value}])


def beside(document: dict[str, Any]) -> None:
    """Mount another volume where the model would be."""
    name = document["metadata"]["name"]
    document["spec"]["template"]["spec"]["volumes"].append({"name": "other", "emptyDir": {}})
    document["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].append(
        {"name": "other", "mountPath": f"/models/{name}"}
    )


ROWS = {
    "container": (put(*SERVER, "name", "web"), "it has no container 'server'; there are: web"),
    "config-map": (env(configMapKeyRef={"name": "paths", "key": "a"}), "comes from key 'a' of ConfigMap 'paths'"),
    "secret": (env(secretKeyRef={"name": "paths", "key": "a"}), "comes from key 'a' of Secret 'paths'"),
    "not-mounted": (put(*SERVER, "volumeMounts", []), "container 'server' does not mount claim 'models'"),
    "sub-path": (
        put(*SERVER, "volumeMounts", 0, {"name": "models", "mountPath": "/models", "subPath": "x"}),
        "mounts 'x' of claim 'models'",
    ),
    "writable": (
        put("spec", "template", "spec", "volumes", 0, "persistentVolumeClaim", {"claimName": "models"}),
        "is writable",
    ),
    "hidden": (beside, "that hides claim 'models'"),
    "not-a-parent": (path("/opt/model"), "is '/opt/model', which is not below '/models'"),
    "paused": (put("spec", "paused", True), "it is paused"),
    "no-pods": (put("spec", "replicas", 0), "wants no pods"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_workload_that_cannot_be_rolled_out_is_said_and_nothing_is_planned(stand: Stand, one: Run, row: str):
    change, said = ROWS[row]
    document = stand.read(one.name)
    change(document)
    del document["metadata"]["resourceVersion"]  # the controller writes its status at any time
    stand.apps.replace_namespaced_deployment(one.name, stand.namespace, document)
    with pytest.raises(AirflowFailException, match=one.name) as caught:
        one.plan()
    assert said in str(caught.value)
    assert one.evidence.find("plan") is None


def test_a_workload_that_is_not_there_is_said(stand: Stand, one: Run):
    stand.apps.delete_namespaced_deployment(one.name, stand.namespace)
    with pytest.raises(AirflowFailException, match=f"Deployment {stand.namespace}/{one.name} does not exist: apply it"):
        one.plan()


# --- who keeps a variable -----------------------------------------------------------------------------------------


def apply(stand: Stand, one: Run, manager: str, value: str | None, **metadata: Any) -> None:
    """Apply the variable, or nothing of it, server-side as *manager*, as an agent does."""
    container = {"name": "server"} | ({"env": [{"name": "MODEL_PATH", "value": value}]} if value else {})
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": one.name, **metadata},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    kind = {"Content-Type": "application/apply-patch+yaml", "Accept": "application/json"}
    stand.apps.api_client.call_api(
        f"/apis/apps/v1/namespaces/{stand.namespace}/deployments/{one.name}",
        "PATCH",
        query_params=[("fieldManager", manager), ("force", "true")],
        header_params=kind,
        body=body,
        auth_settings=["BearerToken"],
        _preload_content=False,
    )


@pytest.mark.parametrize("manager", ["kustomize-controller", "argocd-controller", "helm", "some-operator"])
def test_a_variable_that_an_agent_applies_is_refused_with_the_agents_name(stand: Stand, one: Run, manager: str):
    apply(stand, one, manager, "/models/theirs")
    with pytest.raises(AirflowFailException, match=f"variable MODEL_PATH of container 'server' is kept by '{manager}'"):
        one.plan()


def test_it_stays_the_agents_after_a_person_has_set_it_by_hand(stand: Stand, one: Run):
    apply(stand, one, "kustomize-controller", "/models/theirs")
    stand.set_path(one.name, "/models/by/hand")
    with pytest.raises(AirflowFailException, match="is kept by 'kustomize-controller'"):
        one.plan()


def test_what_an_agent_applies_without_the_variable_is_for_us_to_set(stand: Stand, one: Run):
    stand.change(one.name, [{"op": "remove", "path": "/spec/template/spec/containers/0/env/1"}])
    flux = {"kustomize.toolkit.fluxcd.io/name": "apps"}
    apply(stand, one, "kustomize-controller", None, labels=flux)
    assert one.plan()["plan_digest"]


def test_a_person_with_kubectl_keeps_nothing(stand: Stand, one: Run):
    apply(stand, one, "kubectl", "/models/by/kubectl")
    assert one.plan()["plan_digest"]


def test_what_an_operator_made_is_refused_with_its_name(stand: Stand, one: Run):
    core = client.CoreV1Api(stand.apps.api_client)
    claim = core.read_namespaced_persistent_volume_claim("models", stand.namespace)
    owner = {"apiVersion": "serving.example/v1", "kind": "InferenceService", "name": "llm", "uid": claim.metadata.uid}
    stand.change(one.name, {"metadata": {"ownerReferences": [owner | {"controller": True}]}})
    with pytest.raises(AirflowFailException, match="is kept by InferenceService llm, which made it"):
        one.plan()


# --- rights -------------------------------------------------------------------------------------------------------


def test_a_variable_that_the_clusters_policy_does_not_allow_is_refused_before_anyone_is_asked(
    stand: Stand,
    one: Run,
    catalog,  # noqa: F811
):
    binding = {"container": "server", "variable": "SECRET_PATH", "model": one.name}
    catalog(one.name, bindings=[binding])
    before = stand.read(one.name)["metadata"]["generation"]  # the resource version moves with the status
    with pytest.raises(AirflowFailException, match=r"may not be changed as planned: .*only these variables may change"):
        one.plan()
    assert stand.read(one.name)["metadata"]["generation"] == before


@pytest.fixture
def stranger(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    """Return the connection of an account that may do nothing but look at workloads and claims."""
    core = client.CoreV1Api(stand.apps.api_client)
    rights = client.RbacAuthorizationV1Api(stand.apps.api_client)
    core.create_namespaced_service_account(stand.namespace, {"metadata": {"name": "stranger"}})
    look = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get"]},
    ]
    rights.create_namespaced_role(stand.namespace, {"metadata": {"name": "look"}, "rules": look})
    who = {"kind": "ServiceAccount", "name": "stranger", "namespace": stand.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "look"}
    binding = {"metadata": {"name": "look"}, "subjects": [who], "roleRef": role}
    rights.create_namespaced_role_binding(stand.namespace, binding)
    request = {"spec": {"audiences": [], "expirationSeconds": 3600}}
    token = core.create_namespaced_service_account_token("stranger", stand.namespace, request).status.token
    document = yaml.safe_load(Path(os.environ["AIRFLOW_KUBECONFIG"]).read_text())
    document["users"][0]["user"] = {"token": token}
    extra = json.dumps({"kube_config": json.dumps(document)})
    connection = json.dumps({"conn_type": "kubernetes", "extra": extra})
    monkeypatch.setenv("AIRFLOW_CONN_TEST_STRANGER", connection)
    return "test_stranger"


def test_every_right_that_is_missing_is_named(stand: Stand, one: Run, catalog, stranger: str):  # noqa: F811
    catalog(one.name, connection=stranger)
    (problem,) = preflight.problems(Cluster(stranger), load().service(one.name))
    assert problem.startswith("Connection 'test_stranger' may not create pods, get pods, list pods")
    for right in ("create pods/proxy", "patch deployments", "patch statefulsets", "list replicasets"):
        assert right in problem
    assert "get deployments" not in problem
