"""What is seen of a cluster, put as a question about room, and what is lost without a right."""

from __future__ import annotations

import copy
from urllib.parse import unquote

import pytest

from modelberth.kubernetes import capacity
from modelberth.kubernetes.client import ForbiddenError, ObjectMissingError
from modelberth.kubernetes.surroundings import Surroundings, look

SPACE = "/api/v1/namespaces/s"
STATUS = "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status"


def a_workload(kind="Deployment", replicas=2, strategy=None, **template):
    labels = {"app": "llm"}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "strategy" if kind == "Deployment" else "updateStrategy": strategy or {},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [a_container()], **template}},
    }
    return {"kind": kind, "metadata": {"name": "llm", "namespace": "s", "uid": "u"}, "spec": spec, "status": {}}


def a_container(**resources):
    return {"name": "server", "resources": resources or {"limits": {"gpu": "1"}}}


def a_pod(name, node="a", owner="ReplicaSet", namespace="s", labels=None, **meta):
    owners = [{"kind": owner, "uid": "u", "controller": True}]
    labels = {"app": "llm"} if labels is None else labels
    meta = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": owners, **meta}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": meta, "spec": {"nodeName": node, "containers": [a_container()]}, "status": ready}


def a_node(name, gpus=1, **labels):
    ready = [{"type": "Ready", "status": "True"}]
    meta = {"name": name, "labels": labels}
    return {"metadata": meta, "status": {"allocatable": {"gpu": str(gpus), "pods": "9"}, "conditions": ready}}


class FakeCluster:
    """Answers as the API server would; what is in no list is missing, *denied* paths are refused."""

    connection = "there"

    def __init__(self, lists, objects=None, denied=()):
        self.lists, self.objects, self.denied, self.asked = lists, objects or {}, denied, []

    def get(self, path):
        path, _, query = unquote(path).partition("?")
        self.asked.append((path, query))
        if path in self.denied:
            raise ForbiddenError(path)
        if path in self.objects:
            return self.objects[path]
        if path not in self.lists and not path.startswith((SPACE, "/apis/apps")):
            raise ObjectMissingError(path)
        if path.endswith("claims/models"):
            raise ObjectMissingError(path)
        items = copy.deepcopy(self.lists.get(path, []))
        start = int(query.partition("&continue=")[2] or 0)
        more = {"continue": str(start + 2)} if "limit=" in query and len(items) > start + 2 else {}
        return {"items": items[start : start + 2] if "limit=" in query else items, "metadata": more}


PODS = [a_pod("llm-1", "a"), a_pod("llm-2", "b"), a_pod("x", "c", namespace="other")]
ALL = {"/api/v1/nodes": [a_node(name) for name in "abc"], "/api/v1/pods": PODS, f"{SPACE}/pods": PODS[:2]}
SURGE = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def judged(cluster, **changes):
    found = capacity.judge(cluster, a_workload(strategy=SURGE, **changes))
    return found.verdict, " ".join(found.reasons)


def test_lists_are_read_page_by_page():
    cluster = FakeCluster(ALL)
    assert [one["metadata"]["name"] for one in look(cluster, "s", []).nodes] == ["a", "b", "c"]
    assert [query for path, query in cluster.asked if path == "/api/v1/nodes"] == ["limit=500", "limit=500&continue=2"]


def test_pods_that_have_ended_are_not_asked_for():
    cluster = FakeCluster(ALL)
    look(cluster, "s", [])
    [(_, query), *_] = [one for one in cluster.asked if one[0] == "/api/v1/pods"]
    assert query.startswith("fieldSelector=status.phase!=Succeeded,status.phase!=Failed&limit=")


def test_of_pods_only_what_decides_is_kept():
    heavy = a_pod("llm-1", annotations={"a": "b"}, managedFields=["much"])
    heavy["spec"] |= {"volumes": ["many"], "nodeSelector": {"x": "y"}}
    heavy["spec"]["containers"][0] |= {"env": ["much"], "ports": [{"containerPort": 1}]}
    [kept] = look(FakeCluster(ALL | {"/api/v1/pods": [heavy]}), "s", []).pods
    assert "much" not in str(kept)
    assert "many" not in str(kept)
    assert kept["spec"]["containers"] == [a_container() | {"ports": [{"containerPort": 1}]}]
    assert kept["spec"]["nodeSelector"] == {"x": "y"}


def test_with_all_rights_what_is_full_does_not_fit():
    verdict, said = judged(FakeCluster(ALL))
    assert verdict == "does not fit"
    assert "3 lacking gpu" in said
    assert "kubectl --namespace s patch deployment llm --patch" in said


@pytest.mark.parametrize(
    ("denied", "nodes", "verdict", "said"),
    [
        (["/api/v1/nodes"], 4, "cannot know", "Connection 'there' may not list nodes"),
        (["/api/v1/pods"], 4, "cannot know", "may not list pods of all namespaces"),
        (["/api/v1/pods"], 2, "does not fit", "lacking gpu"),
        ([f"{SPACE}/limitranges"], 4, "cannot know", "may not list limitranges"),
        ([f"{SPACE}/resourcequotas"], 4, "cannot know", "may not list resourcequotas"),
        ([STATUS], 3, "cannot know", "may not get ConfigMap kube-system/cluster-autoscaler-status"),
        ([STATUS], 4, "fits", "there is room"),
    ],
)
def test_what_is_lost_without_a_right_is_said(denied, nodes, verdict, said):
    there = ALL | {"/api/v1/nodes": [a_node(name) for name in "abcd"[:nodes]]}
    found, reasons = judged(FakeCluster(there, denied=denied))
    assert found == verdict, reasons
    assert said in reasons


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ({"/apis": {"groups": [{"name": "karpenter.sh"}]}}, "Karpenter is there"),
        ({STATUS: {"metadata": {}}}, "A cluster autoscaler is there"),
    ],
)
def test_who_may_add_a_node_is_seen(objects, said):
    verdict, reasons = judged(FakeCluster(ALL, objects))
    assert verdict == "cannot know"
    assert said in reasons


def a_claim(mode, volume="v"):
    return {f"{SPACE}/persistentvolumeclaims/models": {"spec": {"accessModes": [mode], "volumeName": volume}}}


MODELS = {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]}
ROOM = ALL | {"/api/v1/nodes": [*ALL["/api/v1/nodes"], a_node("d", zone="1")]}


@pytest.mark.parametrize(
    ("mode", "terms", "verdict", "said"),
    [
        ("ReadWriteMany", None, "fits", "there is room"),
        ("ReadWriteMany", {"key": "zone", "operator": "Exists"}, "does not fit", "3 out of reach of its volume"),
        ("ReadWriteMany", {"key": "zone", "operator": "DoesNotExist"}, "does not fit", "1 out of reach of its volume"),
        (
            "ReadWriteOnce",
            None,
            "cannot know",
            "Claim models is ReadWriteOnce and there is no room where it is, on a",
        ),
        ("ReadWriteOncePod", None, "does not fit", "Claim models, ReadWriteOncePod, (models: 2 of 1 used"),
    ],
)
def test_a_claim_may_keep_pods_from_nodes(mode, terms, verdict, said):
    required = {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [terms]}]}}} if terms else {}
    objects = a_claim(mode) | {"/api/v1/persistentvolumes/v": {"spec": required}}
    found, reasons = judged(FakeCluster(ROOM, objects), **MODELS)
    assert found == verdict, reasons
    assert said in reasons


def test_a_volume_that_may_not_be_read_is_said():
    denied = ["/api/v1/persistentvolumes/v"]
    verdict, reasons = judged(FakeCluster(ROOM, a_claim("ReadWriteMany"), denied), **MODELS)
    assert verdict == "cannot know"
    assert "may not get persistentvolumes" in reasons


def test_a_workload_of_no_pods_needs_no_room():
    assert capacity.judge(FakeCluster({}), a_workload(replicas=0)).verdict == "fits"


def test_in_the_middle_of_a_rollout_nothing_is_refused():
    pods = [a_pod(f"llm-{name}", name, labels={"app": "llm", "pod-template-hash": name}) for name in "ab"] + PODS[2:]
    verdict, reasons = judged(FakeCluster(ALL | {"/api/v1/pods": pods}))
    assert verdict == "cannot know"
    assert "several templates" in reasons


def test_a_history_that_a_quota_leaves_no_room_for_is_said():
    full = {"metadata": {"name": "q"}, "spec": {"hard": {"count/replicasets.apps": "2"}}}
    full["status"] = {"used": {"count/replicasets.apps": "2"}}
    verdict, reasons = judged(FakeCluster(ROOM | {f"{SPACE}/resourcequotas": [full]}))
    assert verdict == "cannot know"
    assert "ResourceQuota q is used up for count/replicasets.apps" in reasons


def test_a_limit_range_that_refuses_the_pods_does_not_fit():
    least = {"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", "min": {"cpu": "1"}}]}}
    verdict, reasons = judged(FakeCluster(ROOM | {f"{SPACE}/limitranges": [least]}))
    assert verdict == "does not fit"
    assert "LimitRange r has min 1 cpu" in reasons


@pytest.mark.parametrize(
    ("document", "pod", "replaced"),
    [
        (a_workload(), a_pod("llm-1"), True),
        (a_workload(), a_pod("llm-1", labels={}), False),
        (a_workload(), a_pod("llm-1", namespace="other"), False),
        (a_workload(), a_pod("llm-1", deletionTimestamp="now"), False),
        (a_workload(), a_pod("llm-1", owner="Job"), False),
        (a_workload("StatefulSet"), a_pod("llm-1", owner="StatefulSet"), True),
        (a_workload("StatefulSet", strategy={"rollingUpdate": {"partition": 1}}), a_pod("llm-0"), False),
        (a_workload("StatefulSet", strategy={"rollingUpdate": {"partition": 1}}), a_pod("llm-1"), True),
    ],
)
def test_the_pods_that_a_rollout_replaces_are_its_own(document, pod, replaced):
    assert capacity.is_replaced(document, pod) is replaced


def test_ordinals_that_start_elsewhere_are_counted_from_there():
    document = a_workload("StatefulSet", strategy={"rollingUpdate": {"partition": 1}})
    document["spec"]["ordinals"] = {"start": 5}
    assert [capacity.is_replaced(document, a_pod(f"llm-{ordinal}")) for ordinal in (5, 6)] == [False, True]


def test_a_stateful_set_keeps_the_pods_below_its_partition():
    document = a_workload("StatefulSet", strategy={"rollingUpdate": {"partition": 1}})
    pods = [a_pod("llm-0", "a"), a_pod("llm-1", "b")]
    asked = capacity.question(document, None, Surroundings(nodes=ALL["/api/v1/nodes"], pods=pods))
    assert asked.pace.replicas == 1
    assert [pod.name for pod in asked.old] == ["s/llm-1"]
    assert [pod.name for pod in asked.others] == ["s/llm-0"]
