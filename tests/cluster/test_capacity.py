"""Room for a rollout: what is judged of fake GPU nodes, against what the real scheduler and controllers then do."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fake_nodes
import pytest
import serving
import yaml
from kubectl import apply, kubectl
from kubernetes import client, config
from rollouts import drive, workload
from settings import Settings

from modelberth.catalog import Service, Target
from modelberth.core.plan import CANNOT_KNOW, DOES_NOT_FIT, FITS, Capacity
from modelberth.kubernetes.capacity import judge
from modelberth.kubernetes.client import Cluster
from modelberth.kubernetes.target import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rollouts import Stand

PROJECT = Path(__file__).resolve().parents[2]
GPU = "nvidia.com/gpu"
SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
IN_PLACE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
TEAM = {"key": "team", "value": "research", "effect": "NoSchedule"}
APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"apart": "true"}}}
        ]
    }
}


def wait(condition: Callable[[], Any], about: Callable[[], object], seconds: float = 150) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, about()
        time.sleep(0.3)
    return found


@dataclass
class Fleet:
    """Fake nodes, and workloads on them, in a namespace of their own; one connection may look at nodes, one may not."""

    settings: Settings
    group: str
    namespace: str
    core: client.CoreV1Api

    def kubectl(self, *line: str, namespace: str | None = None) -> str:
        return kubectl(self.settings, *line, f"--namespace={namespace or self.namespace}").stdout.strip()

    def add(self, label: str, gpus: list[int], **spec: Any) -> None:
        """Make ready nodes with *label* and so many GPUs each; *spec* is the last one's."""
        nodes = [
            fake_nodes.node(
                f"{self.group}-{label}-{index}",
                self.group,
                {"cpu": "8", "memory": "64Gi", GPU: str(count)},
                {"pool": label},
                **(spec if index == len(gpus) - 1 else {}),
            )
            for index, count in enumerate(gpus)
        ]
        apply(self.settings, nodes)

    def deploy(
        self,
        label: str,
        kind: str,
        replicas: int,
        strategy: Any,
        pod: dict[str, Any],
        gpus: str = "1",
        within: int = 12,
    ) -> None:
        """Make a workload whose pods each want *gpus* of the nodes with *label*; *within* is its progress deadline."""
        document = workload(label, kind, "example.com/none:1", "/before", replicas)
        spec = document["spec"]
        spec["template"]["metadata"]["labels"] |= {"apart": "true"} if "affinity" in pod else {}
        template = spec["template"]["spec"]
        template |= fake_nodes.bound_to(self.group, {"pool": label}) | {"volumes": []}
        template["containers"][0] |= {"volumeMounts": [], "resources": {"limits": {"cpu": "1", GPU: gpus}}}
        template["tolerations"] += pod.pop("tolerations", [])
        template |= pod
        if kind == "Deployment":
            spec |= {"strategy": strategy, "progressDeadlineSeconds": within}
        else:
            spec |= {"updateStrategy": strategy}
        apply(self.settings, [document], self.namespace)

    def read(self, label: str, kind: str = "Deployment") -> dict[str, Any]:
        done = kubectl(self.settings, "get", kind, label, f"--namespace={self.namespace}", "--output=json")
        return json.loads(done.stdout)

    def judge(self, label: str, kind: str = "Deployment", connection: str = "test_looker") -> Capacity:
        return judge(Cluster(connection), self.read(label, kind))

    def wait_ready(self, label: str, kind: str = "Deployment") -> None:
        def ready() -> bool:
            document = self.read(label, kind)
            return bool(document["status"].get("readyReplicas", 0) == document["spec"]["replicas"])

        wait(ready, lambda: self.read(label, kind)["status"])

    def roll(self, label: str, kind: str = "Deployment") -> None:
        """Change the variable, as a rollout does."""
        env = [{"name": "MODEL_PATH", "value": f"/after-{uuid.uuid4().hex[:4]}"}]
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "server", "env": env}]}}}}
        line = ("patch", kind, label, f"--namespace={self.namespace}", f"--patch={json.dumps(patch)}")
        kubectl(self.settings, *line)

    def ends(self, label: str, kind: str = "Deployment") -> str:
        """Return how the rollout ends: ``complete``, or ``stuck`` where Kubernetes gives up."""
        return str(wait(lambda: how_far(self.read(label, kind)), lambda: self.read(label, kind)["status"]))

    def pending(self, label: str) -> list[str]:
        """Return what the scheduler says of pods that it finds no node for."""
        pods = self.core.list_namespaced_pod(self.namespace, label_selector=f"app={label}").items
        conditions = [one for pod in pods for one in pod.status.conditions or []]
        return [str(one.message) for one in conditions if one.type == "PodScheduled" and one.status == "False"]


def how_far(document: dict[str, Any]) -> str | None:
    status, spec = document["status"], document["spec"]
    if status.get("observedGeneration", 0) < document["metadata"]["generation"]:
        return None
    if any(one.get("reason") == "ProgressDeadlineExceeded" for one in status.get("conditions") or []):
        return "stuck"
    counts = [status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "replicas")]
    return "complete" if counts == [spec["replicas"]] * 3 else None


class Account:
    """A service account of the fleet's namespace with Airflow's rights there, and others that a test gives it."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet, self.name = fleet, f"{fleet.namespace}:{name}"
        fleet.kubectl("create", "serviceaccount", name)
        self.bind("rolebinding", name, "--role=modelberth-airflow")

    def bind(self, kind: str, name: str, role: str, namespace: str | None = None) -> None:
        self.fleet.kubectl("create", kind, name, role, f"--serviceaccount={self.name}", namespace=namespace)

    def connection(self) -> str:
        """Return the Airflow connection of the account."""
        admin = yaml.safe_load(self.fleet.settings.kubeconfig.read_text())
        token = self.fleet.kubectl("create", "token", self.name.partition(":")[2])
        user = {"name": admin["users"][0]["name"], "user": {"token": token}}
        kubeconfig = json.dumps(admin | {"users": [user]})
        return json.dumps({"conn_type": "kubernetes", "extra": json.dumps({"kube_config": kubeconfig})})


def wider_roles(settings: Settings, group: str) -> list[dict[str, Any]]:
    """Return the roles of rbac-capacity.yaml under names of their own, since the cluster is others' as well."""
    roles = [one for one in serving.manifest(settings, "rbac-capacity.yaml") if one["kind"].endswith("Role")]
    for one in roles:
        one["metadata"]["name"] = group
    return roles


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    settings, group = Settings(PROJECT), f"gpus-{uuid.uuid4().hex[:6]}"
    home, api = tmp_path_factory.mktemp("kwok"), config.new_client_from_config(os.environ["KUBECONFIG"])
    one = Fleet(settings, group, group, client.CoreV1Api(api))
    with (home / "kwok.log").open("w") as log, pytest.MonkeyPatch.context() as patch:
        command = fake_nodes.keeper(settings, group, home / "build.log")
        keeper = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            serving.serving_namespace(settings, group)
            apply(settings, wider_roles(settings, group))
            blind, looker = Account(one, "blind"), Account(one, "looker")
            looker.bind("clusterrolebinding", group, f"--clusterrole={group}")
            looker.bind("rolebinding", group, f"--role={group}", "kube-system")
            patch.setenv("AIRFLOW_CONN_TEST_BLIND", blind.connection())
            patch.setenv("AIRFLOW_CONN_TEST_LOOKER", looker.connection())
            yield one
        finally:
            # What would make new pods goes first, and alone; then the pods, whose end nobody waits for.
            one.kubectl("delete", "deployment,statefulset,replicaset", "--all", "--cascade=orphan", "--wait=false")
            one.kubectl("delete", "pod", "--all", "--force", "--grace-period=0", "--wait=false")
            serving.delete_namespace(settings, group)
            fake_nodes.remove(settings, group)
            for kind in ("clusterrolebinding", "clusterrole", "rolebinding", "role"):
                one.kubectl("delete", kind, group, "--ignore-not-found", namespace="kube-system")
            keeper.terminate()
            keeper.wait(10)


# --- what is judged, and what then happens ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """A workload, the nodes it may be on, and what is judged of a rollout."""

    verdict: str
    gpus: list[int]
    replicas: int = 2
    strategy: dict[str, Any] = field(default_factory=lambda: SURGE)
    kind: str = "Deployment"
    pod: dict[str, Any] = field(default_factory=dict)
    each: str = "1"
    last: dict[str, Any] = field(default_factory=dict)
    """What the spec of the last node says, which is made when the pods run already."""


SCENARIOS = {
    "no-gpu-is-free": Scenario(DOES_NOT_FIT, [1, 1]),
    "a-gpu-is-free": Scenario(FITS, [1, 1, 1]),
    "one-at-a-time": Scenario(FITS, [1, 1], strategy=IN_PLACE),
    "the-default-strategy": Scenario(DOES_NOT_FIT, [1], 1, {}),
    "the-default-of-four": Scenario(FITS, [4], 4, {}),
    "recreate": Scenario(FITS, [2], strategy={"type": "Recreate"}),
    "a-stateful-set": Scenario(FITS, [1, 1], strategy={"type": "RollingUpdate"}, kind="StatefulSet"),
    "never-on-one-node": Scenario(DOES_NOT_FIT, [3, 1], 1, each="2"),
    "the-free-one-is-tainted": Scenario(DOES_NOT_FIT, [1, 1, 1], last={"taints": [TEAM]}),
    "the-taint-is-tolerated": Scenario(FITS, [1, 1, 1], pod={"tolerations": [TEAM]}, last={"taints": [TEAM]}),
    "the-free-one-is-cordoned": Scenario(DOES_NOT_FIT, [1, 1, 1], last={"unschedulable": True}),
    "one-a-host": Scenario(DOES_NOT_FIT, [4, 4], pod={"affinity": APART}),
    "one-a-host-in-place": Scenario(FITS, [4, 4], strategy=IN_PLACE, pod={"affinity": APART}),
}
HAPPENS = {FITS: "complete", DOES_NOT_FIT: "stuck"}


@dataclass
class Played:
    """What was judged of each scenario, and how its rollout ended then."""

    judged: dict[str, Capacity] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def played(fleet: Fleet) -> Played:
    """Play all scenarios at once: each has nodes of its own."""
    result = Played()

    def play(name: str) -> None:
        one = SCENARIOS[name]
        late = bool(one.last)
        fleet.add(name, one.gpus[:-1] if late else one.gpus)
        # Kubernetes gives up soon where that is expected; what fits may take its time on a busy machine.
        within = 12 if one.verdict == DOES_NOT_FIT else 120
        fleet.deploy(name, one.kind, one.replicas, one.strategy, dict(one.pod), one.each, within)
        fleet.wait_ready(name, one.kind)
        if late:
            fleet.add(name, one.gpus, **one.last)
        result.judged[name] = fleet.judge(name, one.kind)
        fleet.roll(name, one.kind)
        result.ended[name] = fleet.ends(name, one.kind)
        result.waiting[name] = fleet.pending(name)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(play, SCENARIOS))
    return result


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_fits_is_rolled_out_and_what_does_not_is_stuck(played: Played, name: str) -> None:
    judged = played.judged[name]
    assert judged.verdict == SCENARIOS[name].verdict, judged.reasons
    assert played.ended[name] == HAPPENS[judged.verdict]


def test_the_deadlock_is_said_as_the_scheduler_says_it(played: Played) -> None:
    reasons = " ".join(played.judged["no-gpu-is-free"].reasons)
    assert "a new pod must run beside all 2 old ones" in reasons
    assert f"each wants cpu 1, {GPU} 1" in reasons
    assert f"2 lacking {GPU}" in reasons
    assert any(f"2 Insufficient {GPU}" in said for said in played.waiting["no-gpu-is-free"])


def test_the_line_that_is_advised_ends_the_deadlock(fleet: Fleet, played: Played) -> None:
    [advice] = [reason for reason in played.judged["no-gpu-is-free"].reasons if "apply: " in reason]
    program, *line = shlex.split(advice.partition("apply: ")[2])
    assert program == "kubectl"
    kubectl(fleet.settings, *line)
    wait(lambda: how_far(fleet.read("no-gpu-is-free")) == "complete", lambda: fleet.read("no-gpu-is-free")["status"])
    assert fleet.judge("no-gpu-is-free").verdict == FITS


# --- what is not known ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def waiting(fleet: Fleet) -> Fleet:
    """A workload of one pod whose nodes are in a group that was scaled to none."""
    fleet.deploy("from-zero", "Deployment", 1, SURGE, {})
    wait(lambda: fleet.pending("from-zero"), lambda: "nothing waits")
    return fleet


def test_no_node_at_all_does_not_fit(waiting: Fleet) -> None:
    judged = waiting.judge("from-zero")
    assert judged.verdict == DOES_NOT_FIT
    assert "not of its nodeSelector or node affinity" in judged.reasons[0]


def test_a_cluster_autoscaler_may_add_the_node_that_is_missing(waiting: Fleet) -> None:
    waiting.kubectl("create", "configmap", "cluster-autoscaler-status", namespace="kube-system")
    try:
        judged = waiting.judge("from-zero")
    finally:
        waiting.kubectl("delete", "configmap", "cluster-autoscaler-status", namespace="kube-system")
    assert judged.verdict == CANNOT_KNOW
    assert "A cluster autoscaler is there and may add a node, which takes its time." in judged.reasons


def test_without_the_right_to_look_what_is_missing_is_said(waiting: Fleet) -> None:
    judged = waiting.judge("from-zero", connection="test_blind")
    assert judged.verdict == CANNOT_KNOW
    said = " ".join(judged.reasons)
    for right in ("list nodes", "list pods of all namespaces", "ConfigMap kube-system/cluster-autoscaler-status"):
        assert f"Connection 'test_blind' may not {right}" in said or f"may not get {right}" in said
    assert "rbac-capacity.yaml" in said


def test_devices_that_are_claimed_are_the_schedulers_knowledge(fleet: Fleet) -> None:
    group, gpus = fleet.group, f"gpus.{fleet.group}"
    api = {"apiVersion": "resource.k8s.io/v1"}
    request = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": gpus}}]}}
    claim = {"name": "gpu", "resourceClaimTemplateName": "gpu"}
    pool = {"name": group, "resourceSliceCount": 1, "generation": 1}
    made = [
        api | {"kind": "DeviceClass", "metadata": {"name": gpus}, "spec": {}},
        api
        | {
            "kind": "ResourceSlice",
            "metadata": {"name": group},
            "spec": {"driver": gpus, "pool": pool, "nodeName": f"{group}-dra-0", "devices": [{"name": "gpu-0"}]},
        },
    ]
    template = api | {"kind": "ResourceClaimTemplate", "metadata": {"name": "gpu"}, "spec": {"spec": request}}
    try:
        fleet.add("dra", [9])
        apply(fleet.settings, [*made, template], fleet.namespace)
        fleet.deploy("dra", "Deployment", 1, SURGE, {"resourceClaims": [claim]})
        fleet.wait_ready("dra")
        judged = fleet.judge("dra")
        fleet.roll("dra")
        assert fleet.ends("dra") == "stuck"  # its one device is taken; but no node lacks anything that is counted
    finally:
        for one in made:
            fleet.kubectl("delete", one["kind"], one["metadata"]["name"], "--ignore-not-found")
    assert judged.verdict == CANNOT_KNOW
    assert "DRA" in judged.reasons[0]


# --- real pods on the real node ---------------------------------------------------------------------------------------


def test_a_pod_that_is_too_big_for_the_real_node_does_not_fit_and_waits(fleet: Fleet, stand: Stand) -> None:
    document = workload("too-big", "Deployment", stand.image, None, 1)
    [container] = document["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"requests": {"cpu": "1000"}}
    apply(fleet.settings, [document], fleet.namespace)
    [said] = wait(lambda: fleet.pending("too-big"), lambda: "nothing waits")
    judged = fleet.judge("too-big")
    assert "1 Insufficient cpu" in said
    assert judged.verdict == DOES_NOT_FIT
    assert "each wants cpu 1000" in judged.reasons[0]
    assert "1 lacking cpu, " in judged.reasons[0]


def test_a_small_pod_fits_on_the_real_node(fleet: Fleet, stand: Stand) -> None:
    document = workload("small", "Deployment", stand.image, "/models", 1)
    apply(fleet.settings, [document], fleet.namespace)
    fleet.wait_ready("small")
    judged = fleet.judge("small")
    assert judged.verdict == FITS, judged.reasons


# --- quotas, and the release ------------------------------------------------------------------------------------------


@pytest.fixture
def quota(stand: Stand) -> Iterator[Callable[[], None]]:
    """Use up the quota of the stand's namespace by what runs there."""
    where = f"--namespace={stand.namespace}"
    settings = Settings(PROJECT)

    def use_up() -> None:
        # Those that other tests have left are on their way out, and count until they are gone.
        leaving = ("get", "pods", where, "--output=jsonpath={.items[*].metadata.deletionTimestamp}")
        wait(lambda: not kubectl(settings, *leaving).stdout, lambda: kubectl(settings, *leaving).stdout)
        alive = "--field-selector=status.phase!=Succeeded,status.phase!=Failed"
        running = kubectl(settings, "get", "pods", where, alive, "--output=name").stdout.split()
        kubectl(settings, "create", "quota", "full", f"--hard=pods={len(running)}", where)
        line = ("get", "quota", "full", where, "--output=jsonpath={.status.used.pods}")
        wait(lambda: kubectl(settings, *line).stdout == str(len(running)), lambda: "the quota is not counted")

    try:
        yield use_up
    finally:
        kubectl(settings, "delete", "quota", "full", where, "--ignore-not-found")


def test_a_quota_that_is_used_up_is_seen_with_airflows_rights_alone(stand, release, quota) -> None:
    one = release()
    quota()
    judged = judge(Cluster("test_kubernetes"), stand.read(one.name))
    assert judged.verdict == DOES_NOT_FIT
    assert "ResourceQuota full (pods:" in judged.reasons[0]
    stand.change(one.name, {"spec": {"progressDeadlineSeconds": 3}})
    stand.set_path(one.name, "/elsewhere")
    assert wait(lambda: how_far(stand.read(one.name)), lambda: stand.read(one.name)["status"]) == "stuck"


def test_no_room_before_the_gate_is_a_problem_of_the_target(stand, release, quota) -> None:
    one = release()
    service = Service.model_validate(
        {
            "name": one.name,
            "connection": "test_kubernetes",
            "namespace": stand.namespace,
            "claim": "models",
            "workload": {"kind": "Deployment", "name": one.name},
            "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": one.name}],
            "pods": {"image": "modelsync:1", "service_account": "modelsync", "bucket_secret": "bucket"},
            "confirm": {"level": "declared"},
            "approvers": [{"id": "alice", "name": "alice"}],
        }
    )
    target = Target(one.name, service, service.workload)
    assert find(target, [one.name]).problems == []
    quota()
    [problem] = find(target, [one.name]).problems
    assert f"Deployment {stand.namespace}/{one.name} has no room for a rollout" in problem
    assert f"kubectl --namespace {stand.namespace} patch deployment {one.name}" in problem


def test_no_room_any_more_after_the_gate_is_refused_and_nothing_is_changed(stand, release, quota) -> None:
    one = release().ready()
    before = stand.read(one.name)
    quota()
    stop = drive(one.rollout())
    assert stop is not None
    assert stop.status == "refused"
    assert "has no room for a rollout" in stop.reason
    assert "apply: kubectl" in stop.reason
    now = stand.read(one.name)
    assert (now["metadata"]["generation"], now["spec"]) == (before["metadata"]["generation"], before["spec"])
    assert one.evidence.find("started", one.name) is None
